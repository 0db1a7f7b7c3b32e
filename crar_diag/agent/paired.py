"""The supervised point of reference: an encoder fitted to its base's embeddings of the same states.

François-Lavet et al. (2019) retrain an encoder so that it gives on a new picture what the old
encoder gave on the old picture of the same state. That needs pairs, which no transfer has.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from crar_diag.agent import networks
from crar_diag.agent.engine import Engine
from crar_diag.agent.lifting import over_members
from crar_diag.agent.networks import Parameters, of_component
from crar_diag.agent.optimizer import Step, apply_step
from crar_diag.agent.population import OPTIMIZERS, Population
from crar_diag.agent.replay import Replay
from crar_diag.envs.observer import Observer


class PairedEngine(Engine):
    """Minimises mean ||e(o'; theta) - e(o; base)||^2 over o' and o of the same states.

    An update is one RMSprop step on one batch, as every loss's is. The seven losses are not
    computed: the totals of its members are NaN.

    Args:
        teachers: the base of every member, `[M, ...]` by name.
        source: how the bases see the task.
    """

    def __init__(self, teachers: Parameters, source: Observer) -> None:
        self._teachers, self._source = teachers, source

    def _advance(
        self, population: Population, replay: Replay, updates: int, epoch: int, sums: np.ndarray
    ) -> None:
        first, architecture = population.updates, population.architecture
        pairs = [
            (data, replace(data, observer=self._source, table=None)) for data in replay.members
        ]
        optimizer = next(iter(OPTIMIZERS[population.rule.mode]))
        blocks = population.blocks(optimizer, ("encoder",))
        agents = of_component(population.agents(), "encoder")
        everyone = torch.ones(
            len(population), dtype=torch.bool, device=population.parameters.device
        )
        rates = torch.from_numpy(population.rates(epoch)).to(population.parameters)
        step = Step(rates, everyone, {"encoder": everyone})
        draws = np.stack([replay.draws(m, first, updates) for m in range(len(population))], axis=1)
        rows = torch.from_numpy(draws).to(replay.device)

        def distance(parameters: Parameters, seen: Tensor, wanted: Tensor) -> Tensor:
            gap = networks.encode(architecture, parameters, seen) - wanted
            return (gap * gap).flatten(1).sum(dim=1).mean()

        def encode(parameters: Parameters, seen: Tensor) -> Tensor:
            return networks.encode(architecture, parameters, seen)

        for u in range(updates):
            shown = [data.first[r] for (data, _), r in zip(pairs, rows[u], strict=True)]
            here = torch.stack([d.observe(s) for (d, _), s in zip(pairs, shown, strict=True)])
            there = torch.stack([d.observe(s) for (_, d), s in zip(pairs, shown, strict=True)])
            with torch.no_grad():
                wanted = over_members(architecture, encode, self._teachers, there)
            leaves = {name: p.detach().requires_grad_() for name, p in agents.items()}
            values = over_members(architecture, distance, leaves, here, wanted)
            found = torch.autograd.grad(values.sum(), list(leaves.values()))
            gradients = dict(zip(leaves, found, strict=True))
            alive = population.alive() & values.detach().isfinite()
            living = apply_step(blocks, gradients, step, population.rule, alive)
            died = ~living.cpu() & (population.diverged_at < 0)
            population.diverged_at[died] = first + u
        sums += np.nan
