"""The Q target of all (state, action) pairs, its own and another one's, against plain Python."""

import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import SIMPLE_MAZE
from crar_diag.agent.config import LOSSES
from crar_diag.agent.exact import losses_of_embedding, q_targets, state_action_pairs
from crar_diag.agent.losses import Forward, LossSettings, all_losses
from crar_diag.envs.observer import Observer
from crar_diag.envs.simple_maze import all_tiles
from tests.agent.test_evaluation import random_agent
from tests.agent.test_loss_evaluation import twin_forward
from tests.agent.test_losses import maze_cells, maze_move

AGENT = random_agent(SIMPLE_MAZE, 0, torch.float64)
PICTURES = torch.from_numpy(Observer("simple-maze", "symbolic")(all_tiles())).double()


def embedding(agent=AGENT):
    return networks.encode(SIMPLE_MAZE, agent, PICTURES)


def plain(agent):
    return {name: p.tolist() for name, p in agent.items()}


def twin_targets(agent, discount_factor=0.9):
    """0.9 max_a Q(x', a) of each state and action: the maze has no reward and no end."""
    lists, states = plain(agent), embedding(agent).tolist()
    best = [max(twin_forward(lists, "q", x)) for x in states]
    cells = list(maze_cells())
    following = [cells.index(maze_move(cell, action)) for cell in cells for action in range(4)]
    return [discount_factor * best[k] for k in following]


def test_pairs_are_all_states_with_all_actions():
    cells = list(maze_cells())
    states, following, actions = (index.tolist() for index in state_action_pairs())
    expected = [
        (s, cells.index(maze_move(cell, action)), action)
        for s, cell in enumerate(cells)
        for action in range(4)
    ]
    assert list(zip(states, following, actions, strict=True)) == expected


@pytest.mark.parametrize("double_q", [False, True])
@pytest.mark.parametrize("discount_factor", [0.9, 0.5])
def test_q_targets_are_the_discounted_best_of_the_next_state(double_q, discount_factor):
    settings = LossSettings(discount_factor=discount_factor, double_q=double_q)
    found = q_targets(SIMPLE_MAZE, AGENT, embedding(), settings)
    assert found.shape == (124,)
    assert found.tolist() == pytest.approx(twin_targets(AGENT, discount_factor), rel=1e-12)


def test_q_targets_have_no_gradient():
    agent = {name: p.clone().requires_grad_() for name, p in AGENT.items()}
    assert not q_targets(SIMPLE_MAZE, agent, embedding(agent)).requires_grad


def test_the_own_target_given_back_changes_nothing():
    x = embedding()
    own = losses_of_embedding(SIMPLE_MAZE, AGENT, x)
    given = losses_of_embedding(SIMPLE_MAZE, AGENT, x, q_target=q_targets(SIMPLE_MAZE, AGENT, x))
    assert own.keys() == given.keys() == set(LOSSES)
    for name in LOSSES:
        assert given[name] == own[name]


def test_another_target_is_what_q_is_compared_with():
    x, target = embedding(), torch.linspace(-1, 1, 124, dtype=torch.float64)
    found = losses_of_embedding(SIMPLE_MAZE, AGENT, x, q_target=target)
    q = [twin_forward(plain(AGENT), "q", state) for state in x.tolist()]
    gaps = [q[k // 4][k % 4] - target[k].item() for k in range(124)]
    assert found["q"].item() == pytest.approx(sum(g * g for g in gaps) / 124 / 4, rel=1e-12)
    own = losses_of_embedding(SIMPLE_MAZE, AGENT, x)
    assert all(found[name] == own[name] for name in LOSSES if name != "q")


def test_a_target_that_is_held_has_the_losses_gradients_and_none_of_its_own():
    agent = {name: p.clone().requires_grad_() for name, p in AGENT.items()}
    x = embedding(agent)
    target = q_targets(SIMPLE_MAZE, agent, x)
    gradients = []
    for given in (None, target):
        loss = losses_of_embedding(SIMPLE_MAZE, agent, x, q_target=given)["q"]
        gradients.append(
            torch.autograd.grad(loss, list(agent.values()), retain_graph=True, allow_unused=True)
        )
    for own, held in zip(*gradients, strict=True):
        assert (own is None) == (held is None)
        assert own is None or torch.equal(own, held)


def test_a_given_target_prevails_over_that_of_a_target_network():
    states, following, actions = state_action_pairs()
    zeros = torch.zeros(124, dtype=torch.float64)
    batch = {
        "observation": PICTURES[states],
        "next_observation": PICTURES[following],
        "action": actions,
        "reward": zeros,
        "terminal": zeros,
    }
    other = random_agent(SIMPLE_MAZE, 1, torch.float64)
    settings = LossSettings()
    by_network = Forward(SIMPLE_MAZE, AGENT, batch, settings, other)
    assert by_network.q_target.tolist() == pytest.approx(twin_targets(other), rel=1e-12)
    given = Forward(SIMPLE_MAZE, AGENT, batch, settings, other, zeros + 3.0)
    assert torch.equal(given.q_target, zeros + 3.0)
    found, expected = all_losses(given), all_losses(by_network)
    assert found["q"] != expected["q"]
    assert all(found[name] == expected[name] for name in LOSSES if name != "q")


def test_targets_of_many_agents_at_once_are_each_by_itself():
    agents = [AGENT, random_agent(SIMPLE_MAZE, 1, torch.float64)]
    targets = torch.stack([q_targets(SIMPLE_MAZE, agent, embedding(agent)) for agent in agents])

    def losses(agent, target):
        x = networks.encode(SIMPLE_MAZE, agent, PICTURES)
        return losses_of_embedding(SIMPLE_MAZE, agent, x, q_target=target)["q"]

    found = torch.func.vmap(losses)(networks.stack(agents), targets.flip(0))
    for k in range(2):
        alone = losses(agents[k], targets[1 - k])
        assert found[k].item() == pytest.approx(alone.item(), rel=1e-12)
