"""Planned Q values against the recursion as it is written, one node after another."""

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import (
    LABYRINTH,
    LABYRINTH_SYMBOLIC,
    SIMPLE_MAZE,
    Architecture,
    Conv,
    Dense,
    Flatten,
    MaxPool,
)
from crar_diag.agent.planning import planned_q_values, population_q_values
from crar_diag.errors import InputError

# A labyrinth agent in small, so that a tree of depth 6 can be walked node by node.
TINY = Architecture(
    name="tiny",
    observation_shape=(1, 4, 4),
    state_shape=(2, 4, 4),
    actions=4,
    encoder=(Conv(1, 2, 2, tanh=False),),
    transition=(Conv(6, 3, 2), Conv(3, 2, 1, tanh=False)),
    reward=(Conv(6, 3, 2), MaxPool(2), Flatten(), Dense(12, 1, tanh=False)),
    discount=(Conv(6, 3, 2), MaxPool(2), Flatten(), Dense(12, 1, tanh=False)),
    q=(Conv(2, 3, 2), MaxPool(2), Flatten(), Dense(12, 4, tanh=False)),
)


def random_agent(architecture, seed):
    rng = np.random.default_rng(seed)
    agent = networks.initialise(architecture, rng, torch.float64)
    return {n: p + torch.from_numpy(rng.normal(0, 0.2, p.shape)) for n, p in agent.items()}


def random_states(architecture, seed, n):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(-1, 1, (n, *architecture.state_shape)))


def q_of_depth(architecture, agent, state, action, depth, branching):
    """Q^depth(x, a), straight from its definition; `state` without a batch axis."""
    x, a = state[None], torch.tensor([action])
    if depth == 0:
        return networks.q_values(architecture, agent, x)[0, action].item()
    reward = networks.predict_reward(architecture, agent, x, a).item()
    discount = networks.predict_discount(architecture, agent, x, a).item()
    moved = networks.predict_state(architecture, agent, x, a)[0]
    values = networks.q_values(architecture, agent, moved[None])[0].tolist()
    best = sorted(range(architecture.actions), key=lambda b: -values[b])[:branching]
    return reward + discount * max(
        q_of_depth(architecture, agent, moved, b, depth - 1, branching) for b in best
    )


def twin(architecture, agent, states, depth, branching=2):
    return torch.tensor(
        [
            [
                sum(
                    q_of_depth(architecture, agent, state, action, d, branching)
                    for d in range(depth + 1)
                )
                / (depth + 1)
                for action in range(architecture.actions)
            ]
            for state in states
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("depth", range(7))
@pytest.mark.parametrize("architecture", [SIMPLE_MAZE, TINY], ids=lambda a: a.name)
def test_planned_values_match_the_recursion(architecture, depth):
    agent = random_agent(architecture, depth)
    states = random_states(architecture, depth, 3 if depth < 4 else 1)
    with torch.no_grad():
        expected = twin(architecture, agent, states, depth)
        planned = planned_q_values(architecture, agent, states, depth)
    torch.testing.assert_close(planned, expected, atol=1e-10, rtol=0)


def test_planned_values_of_the_labyrinth_match_the_recursion():
    agent = random_agent(LABYRINTH, 1)
    states = random_states(LABYRINTH, 1, 2)
    with torch.no_grad():
        expected = twin(LABYRINTH, agent, states, 3)
        planned = planned_q_values(LABYRINTH, agent, states, 3)
    torch.testing.assert_close(planned, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("branching", [1, 3, 4, 9])
def test_other_branchings_match_the_recursion(branching):
    agent = random_agent(SIMPLE_MAZE, 5)
    states = random_states(SIMPLE_MAZE, 5, 2)
    with torch.no_grad():
        expected = twin(SIMPLE_MAZE, agent, states, 3, branching)
        planned = planned_q_values(SIMPLE_MAZE, agent, states, 3, branching)
    torch.testing.assert_close(planned, expected, atol=1e-10, rtol=0)


def test_depth_zero_is_the_q_network():
    agent = random_agent(SIMPLE_MAZE, 6)
    states = random_states(SIMPLE_MAZE, 6, 5)
    expected = networks.q_values(SIMPLE_MAZE, agent, states)
    assert torch.equal(planned_q_values(SIMPLE_MAZE, agent, states, 0), expected)


def test_constant_heads_give_the_geometric_sum():
    # r = 1, g = 0.5, Q = 4: Q^d = 1 + 0.5 Q^(d-1) -> 4, 3, 2.5, 2.25.
    agent = {n: torch.zeros(s, dtype=torch.float64) for n, s in SIMPLE_MAZE.shapes().items()}
    agent["reward.3.bias"] += 1.0
    agent["discount.3.bias"] += 0.5
    agent["q.3.bias"] += 4.0
    planned = planned_q_values(SIMPLE_MAZE, agent, torch.zeros(1, 2, dtype=torch.float64), 3)
    assert planned.tolist() == [[(4 + 3 + 2.5 + 2.25) / 4] * 4]


@pytest.mark.parametrize("nodes", [1, 40, 100])
def test_splitting_the_batch_changes_nothing(nodes):
    agent = random_agent(SIMPLE_MAZE, 7)
    states = random_states(SIMPLE_MAZE, 7, 9)
    whole = planned_q_values(SIMPLE_MAZE, agent, states, 4)
    parts = planned_q_values(SIMPLE_MAZE, agent, states, 4, nodes_at_once=nodes)
    torch.testing.assert_close(parts, whole, atol=1e-13, rtol=0)


@pytest.mark.parametrize("architecture", [SIMPLE_MAZE, TINY], ids=lambda a: a.name)
def test_vmap_equals_one_member_after_another(architecture):
    agents = [random_agent(architecture, seed) for seed in range(4)]
    states = torch.stack([random_states(architecture, seed, 3) for seed in range(4)])
    together = torch.func.vmap(lambda p, x: planned_q_values(architecture, p, x, 3))(
        networks.stack(agents), states
    )
    for index, agent in enumerate(agents):
        alone = planned_q_values(architecture, agent, states[index], 3)
        torch.testing.assert_close(together[index], alone, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "architecture", [SIMPLE_MAZE, LABYRINTH, LABYRINTH_SYMBOLIC], ids=lambda a: a.name
)
def test_population_plans_from_pictures(architecture):
    agents = [random_agent(architecture, seed) for seed in range(2)]
    rng = np.random.default_rng(8)
    pictures = torch.from_numpy(rng.uniform(-1, 1, (2, 3, *architecture.observation_shape)))
    together = population_q_values(architecture, networks.stack(agents), pictures, 2)
    assert together.shape == (2, 3, 4)
    for index, agent in enumerate(agents):
        states = networks.encode(architecture, agent, pictures[index])
        alone = planned_q_values(architecture, agent, states, 2)
        torch.testing.assert_close(together[index], alone, atol=1e-12, rtol=0)


def test_population_of_convolutional_agents_is_exactly_its_members():
    agents = [networks.initialise(LABYRINTH, np.random.default_rng(seed)) for seed in range(3)]
    pictures = torch.rand(3, 2, 1, 48, 48, generator=torch.Generator())
    together = population_q_values(LABYRINTH, networks.stack(agents), pictures, 3)
    for index, agent in enumerate(agents):
        alone = population_q_values(
            LABYRINTH, networks.stack([agent]), pictures[index : index + 1], 3
        )
        assert torch.equal(together[index], alone[0])


@pytest.mark.parametrize("depth", [-1, 7])
def test_depth_outside_its_range_is_refused(depth):
    agent, states = random_agent(SIMPLE_MAZE, 0), random_states(SIMPLE_MAZE, 0, 1)
    with pytest.raises(InputError, match=f"from 0 to 6, found {depth}"):
        planned_q_values(SIMPLE_MAZE, agent, states, depth)


def test_branching_below_one_is_refused():
    agent, states = random_agent(SIMPLE_MAZE, 0), random_states(SIMPLE_MAZE, 0, 1)
    with pytest.raises(InputError, match="branching"):
        planned_q_values(SIMPLE_MAZE, agent, states, 2, branching=0)


def test_pictures_of_another_shape_are_refused():
    population = networks.stack([random_agent(SIMPLE_MAZE, 0)])
    with pytest.raises(InputError, match=r"\(1, batch, 1, 8, 8\), found \(2, 3, 1, 8, 8\)"):
        population_q_values(SIMPLE_MAZE, population, torch.zeros(2, 3, 1, 8, 8), 1)
