"""Transfers: base models put into another visual domain, all of a run as one population."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from crar_diag.agent import networks, realignment
from crar_diag.agent.architecture import Architecture
from crar_diag.agent.assembly import choose_engine, gather_for, update_rule
from crar_diag.agent.bases import bases_of
from crar_diag.agent.config import COMPONENTS, LOSSES
from crar_diag.agent.divided import DividedEngine, IdleEngine
from crar_diag.agent.engine import Engine
from crar_diag.agent.history import History, Labels
from crar_diag.agent.job import Job, Origin
from crar_diag.agent.loading import Agent
from crar_diag.agent.paired import PairedEngine
from crar_diag.agent.population import Population
from crar_diag.agent.replay import Replay
from crar_diag.agent.streams import restart_seed
from crar_diag.agent.transfer_config import NOT_TRAINED_AS_THE_OTHERS, TransferConfig
from crar_diag.agent.variants import member_rule, start
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError

# Transitions on which maps are tried where pictures are many: more take seconds a member.
_ROWS = 512

_TRANSITION = LOSSES.index("transition")


class TransferJob(Job):
    """The transfers of a run; see `TransferConfig`.

    Args:
        config: of the run.
        device: where it runs.
        members: which of the run's members; all by default.
        bases: `bases_of` the same; read from their files by default.

    Raises:
        InputError: a base model is missing, was changed, or does not go with the others.
    """

    config: TransferConfig

    def __init__(
        self,
        config: TransferConfig,
        device: torch.device,
        members: slice = slice(None),
        bases: Mapping[int, Agent] | None = None,
    ) -> None:
        self.device, self.transfers = device, config.transfers()[members]
        self.bases = bases_of(config, members) if bases is None else bases
        super().__init__(config, device, members)

    def _build(self, device: torch.device) -> tuple[Population, Replay]:
        config, self._first = self.config, next(iter(self.bases.values()))
        domains = self._first.metadata.domain, config.domain
        if "oracle" in config.variants and domains != ("normal", "inverse"):
            raise InputError(
                "variant 'oracle' negates the first kernel, which is exact from the domain "
                f"'normal' to 'inverse' alone, found '{domains[0]}' to '{domains[1]}'"
            )
        architecture, dtype = self._first.architecture, getattr(torch, config.precision)
        if config.realign.every:  # what cannot be done at the first epoch's end is refused now
            self._maps = realignment.candidate_maps(architecture, config.realign.angles)
            realignment.fold(architecture, self._first.parameters, self._maps[0])
        agents = [
            start(
                architecture,
                t.variant,
                None if t.base is None else self.bases[t.base].parameters,
                t.seed,
                dtype,
                t.restart,
            )
            for t in self.transfers
        ]
        rules = [member_rule(config, t.variant, t.learning_rate) for t in self.transfers]
        population = Population(architecture, networks.stack(agents), update_rule(config), rules)
        each = {seed: gather_for(config, seed) for seed in dict.fromkeys(self.seeds)}
        data = [each[seed] for seed in self.seeds]
        observers = [Observer(config.environment, config.observation, config.domain)] * len(data)
        batches = [restart_seed(t.seed, t.restart) for t in self.transfers]
        replay = Replay(data, observers, batches, config.batch_size, dtype, device)
        return population.to(device), replay

    def _of(self, *variants: str) -> slice:
        """Return where the transfers of some variants are; they follow each other."""
        found = [m for m, t in enumerate(self.transfers) if t.variant in variants]
        return slice(found[0], found[-1] + 1) if found else slice(0, 0)

    def engine(self, threads: int | None) -> Engine:
        """Return what trains the transfers: the paired ones learn otherwise, an oracle not."""
        paired, oracle = self._of("paired"), self._of("oracle")
        special = (paired.stop - paired.start) + (oracle.stop - oracle.start)
        parts: list[tuple[slice, Engine]] = []
        if special < len(self.transfers):
            architecture = self.population.architecture
            main = choose_engine(self.config.engine, architecture, self.replay, threads)
            if not special:
                return main
            parts.append((slice(0, len(self.transfers) - special), main))
        if paired.stop:
            own = [self._base(m).parameters for m in range(paired.start, paired.stop)]
            teachers = {n: p.to(self.device) for n, p in networks.stack(own).items()}
            source = self._first.metadata
            seen = Observer(source.environment, source.observation, source.domain)
            parts.append((paired, PairedEngine(teachers, seen)))
        if oracle.stop:
            parts.append((oracle, IdleEngine()))
        return DividedEngine(self.population, self.replay, parts)

    def _base(self, member: int) -> Agent:
        base = self.transfers[member].base
        assert base is not None
        return self.bases[base]

    @staticmethod
    def seeds_of(config: TransferConfig) -> tuple[int, ...]:
        """Return the seed of each of the run's transfers."""
        return tuple(transfer.seed for transfer in config.transfers())

    @staticmethod
    def labels(config: TransferConfig, members: slice = slice(None)) -> Labels:
        """Return the name of each transfer, and what it consists of."""
        labels, transfers = config.base_labels(), config.transfers()[members]
        return Labels(
            config.members()[members],
            {
                "transfer": ([t.name for t in transfers], "name of the transfer"),
                "variant": ([t.variant for t in transfers], "variant of the transfer"),
                "base": (
                    ["" if t.base is None else labels[t.base] for t in transfers],
                    "base model; empty from scratch",
                ),
                "initial_learning_rate": (
                    [t.learning_rate for t in transfers],
                    "learning rate in the first epoch",
                ),
                "restart": ([t.restart for t in transfers], "number of the restart"),
            },
        )

    @staticmethod
    def map_size(config: TransferConfig, architecture: Architecture) -> int:
        """Return the numbers or channels of a state, where maps of it are tried."""
        return architecture.state_shape[0] if config.realign.every else 0

    def before_record(self, history: History, position: int) -> None:
        """Try the maps of a grid on every encoder, every few epochs.

        Not before the first: an encoder that has not seen the domain yet squashes its pictures, and
        a map then makes the loss fall that later is the wrong one.
        """
        every, done = self.config.realign.every, self.population.updates
        epoch, rest = divmod(done, self.config.updates_per_epoch)
        if not every or not done or rest or epoch % every:
            return
        names = self.population.agents()
        for m, transfer in enumerate(self.transfers):
            if transfer.variant in NOT_TRAINED_AS_THE_OTHERS or self.population.diverged_at[m] >= 0:
                continue
            agent = networks.member(names, m)
            found = realignment.propose(
                self.population.architecture,
                agent,
                self.replay.members[m],
                self._maps,
                factor=self.config.realign.factor,
                rows=self._some_rows(m),
            )
            if found is not None:
                folded = realignment.fold(self.population.architecture, agent, found.map)
                for name, p in folded.items():
                    names[name][m] = p
                history.realignment[m, position] = found.map

    def _some_rows(self, member: int) -> torch.Tensor | None:
        """Return on which transitions a member's maps are tried; None for all of few pictures."""
        if self.replay.members[member].table is not None:
            return None
        batches = -(-_ROWS // self.config.batch_size)
        drawn = self.replay.draws(member, self.population.updates, batches)
        return torch.from_numpy(drawn.ravel())

    def kept(self, losses: np.ndarray) -> dict[Any, int]:
        """Return each transfer's restart with the smallest transition loss."""
        best: dict[Any, int] = {}
        finite = np.nan_to_num(losses[:, _TRANSITION], nan=math.inf)
        for m, transfer in enumerate(self.transfers):
            other = best.setdefault(transfer.name, m)
            if finite[m] < finite[other]:
                best[transfer.name] = m
        return best

    def origin(self, member: int) -> Origin:
        """Return what a transfer's checkpoint says of where it comes from."""
        transfer, config = self.transfers[member], self.config
        own: dict[str, Any] = {
            "seeds": (transfer.seed,),
            "variants": (transfer.variant,),
            "bases": () if transfer.base is None else (config.bases[transfer.base],),
            # One from scratch has the optimizer's own.
            "learning_rates": () if transfer.base is None else (transfer.learning_rate,),
        }
        moving = self.population.members[member].trainable
        base = None if transfer.base is None else config.bases[transfer.base]
        return Origin(
            transfer.seed,
            {**config.model_copy(update=own).model_dump(mode="json"), "restart": transfer.restart},
            tuple(c for c in COMPONENTS if c not in moving),
            base.path if base else None,
            base.sha256 if base else None,
        )
