"""Members by `vmap` and members one after the other: the same values and gradients."""

import pytest
import torch

from crar_diag.agent import lifting, networks
from crar_diag.agent.architecture import LABYRINTH, SIMPLE_MAZE
from crar_diag.agent.lifting import (
    ACCELERATOR_FACTOR,
    PICTURES_AT_ONCE,
    PICTURES_IN_CACHE,
    lifted,
    over_members,
    pictures_at_once,
    share,
)
from tests.agent.test_planning import TINY, random_agent


def test_convolutions_are_looped_over_on_a_cpu_and_lifted_elsewhere():
    assert lifted(SIMPLE_MAZE, torch.device("cpu"))
    assert not lifted(LABYRINTH, torch.device("cpu"))
    assert lifted(LABYRINTH, torch.device("cuda"))


@pytest.mark.parametrize("architecture", [SIMPLE_MAZE, TINY], ids=lambda a: a.name)
def test_over_members_stacks_tensors_and_dicts(architecture):
    agents = [random_agent(architecture, seed) for seed in range(3)]
    population = networks.stack(agents)
    scale = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    first = next(name for name in population if name.startswith("q"))
    doubled = over_members(
        architecture, lambda p, s: {"sum": p[first].sum() * s}, population, scale
    )
    expected = torch.stack([agent[first].sum() for agent in agents]) * scale
    torch.testing.assert_close(doubled["sum"], expected)


def tiny_inputs(members):
    """A target network, a batch and a scale for each member."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(members, 5, 1, 4, 4, generator=generator, dtype=torch.float64)
    actions = torch.randint(0, 4, (members, 5), generator=generator)
    targets = networks.stack([random_agent(TINY, seed) for seed in range(10, 10 + members)])
    scale = torch.arange(1.0, members + 1, dtype=torch.float64)
    return targets, {"observation": pictures, "action": actions}, scale


def distance(parameters, target, batch, scale):
    """A function of all kinds of inputs, to which every component contributes."""
    states = networks.encode(TINY, parameters, batch["observation"])
    wanted = networks.encode(TINY, target, batch["observation"])
    moved = networks.predict_state(TINY, parameters, states, batch["action"])
    reward = networks.predict_reward(TINY, parameters, moved, batch["action"])
    discount = networks.predict_discount(TINY, parameters, moved, batch["action"])
    values = networks.q_values(TINY, parameters, moved)
    return scale * (
        ((moved - wanted) ** 2).mean() + (reward * discount).mean() + (values**2).mean()
    )


@pytest.mark.parametrize("batched", [False, True], ids=["loop", "vmap"])
def test_each_member_gets_its_own_slice_of_tensors_and_dicts(monkeypatch, batched):
    monkeypatch.setattr(lifting, "lifted", lambda architecture, device: batched)
    agents = [random_agent(TINY, seed) for seed in range(3)]
    targets, batch, scale = tiny_inputs(3)
    together = over_members(TINY, distance, networks.stack(agents), targets, batch, scale)
    assert together.shape == (3,)
    for m, agent in enumerate(agents):
        own = {name: values[m] for name, values in batch.items()}
        alone = distance(agent, networks.member(targets, m), own, scale[m])
        torch.testing.assert_close(together[m], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize("batched", [False, True], ids=["loop", "vmap"])
def test_gradients_of_the_sum_are_those_of_each_member_alone(monkeypatch, batched):
    monkeypatch.setattr(lifting, "lifted", lambda architecture, device: batched)
    agents = [random_agent(TINY, seed) for seed in range(3)]
    leaves = {name: p.requires_grad_() for name, p in networks.stack(agents).items()}
    targets, batch, scale = tiny_inputs(3)
    total = over_members(TINY, distance, leaves, targets, batch, scale).sum()
    together = torch.autograd.grad(total, list(leaves.values()))
    for m, agent in enumerate(agents):
        own = {name: p.requires_grad_() for name, p in agent.items()}
        one = {name: values[m] for name, values in batch.items()}
        value = distance(own, networks.member(targets, m), one, scale[m])
        alone = torch.autograd.grad(value, list(own.values()))
        for name, found, expected in zip(leaves, together, alone, strict=True):
            assert expected.abs().max() > 0, name
            torch.testing.assert_close(found[m], expected, atol=1e-12, rtol=0)


def test_members_share_the_memory_only_where_they_are_computed_together():
    def members(architecture, device="cpu"):
        return {n: torch.empty(8, *s, device=device) for n, s in architecture.shapes().items()}

    assert share(SIMPLE_MAZE, members(SIMPLE_MAZE), 1024) == 128
    assert share(SIMPLE_MAZE, members(SIMPLE_MAZE), 7) == 1
    assert share(LABYRINTH, members(LABYRINTH), 1024) == 1024
    accelerator = members(LABYRINTH, "meta")
    assert share(LABYRINTH, accelerator, 1024) == 1024 * ACCELERATOR_FACTOR // 8
    assert pictures_at_once(SIMPLE_MAZE, members(SIMPLE_MAZE)) == PICTURES_AT_ONCE // 8
    assert pictures_at_once(LABYRINTH, members(LABYRINTH)) == PICTURES_IN_CACHE
    assert pictures_at_once(LABYRINTH, accelerator) == PICTURES_AT_ONCE * ACCELERATOR_FACTOR // 8
