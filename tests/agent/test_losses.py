"""Every loss against values worked out by hand, its gradient against finite differences."""

import math

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import SIMPLE_MAZE, Architecture, Dense, Flatten
from crar_diag.agent.config import LOSSES
from crar_diag.agent.losses import (
    LOSS_COMPONENTS,
    LOSS_FUNCTIONS,
    Forward,
    LossSettings,
    all_losses,
    exact_losses,
    pair_repulsion,
    volume,
)

# The abstract state is the picture itself: two pixels. All heads are linear.
PLAIN = Architecture(
    name="plain",
    observation_shape=(1, 1, 2),
    state_shape=(2,),
    actions=4,
    encoder=(Flatten(),),
    transition=(Dense(6, 2, tanh=False),),
    reward=(Dense(6, 1, tanh=False),),
    discount=(Dense(6, 1, tanh=False),),
    q=(Dense(2, 4, tanh=False),),
)

# A small agent with everything that the published one has.
SMALL = Architecture(
    name="small",
    observation_shape=(1, 2, 2),
    state_shape=(2,),
    actions=4,
    encoder=(Flatten(), Dense(4, 5), Dense(5, 2, tanh=False)),
    transition=(Dense(6, 4), Dense(4, 2, tanh=False)),
    reward=(Dense(6, 3), Dense(3, 1, tanh=False)),
    discount=(Dense(6, 3), Dense(3, 1, tanh=False)),
    q=(Dense(2, 5), Dense(5, 4, tanh=False)),
)


def plain_agent(**values):
    """All zeros but for the named parameters (`q_weight=...` sets `q.0.weight`)."""
    parameters = {n: torch.zeros(s, dtype=torch.float64) for n, s in PLAIN.shapes().items()}
    for key, value in values.items():
        component, kind = key.split("_")
        parameters[f"{component}.0.{kind}"] = torch.tensor(value, dtype=torch.float64)
    return parameters


def plain_batch(states, next_states, actions=None, rewards=None, terminals=None):
    n = len(states)

    def column(values):
        return torch.tensor([0.0] * n if values is None else values, dtype=torch.float64)

    return {
        "observation": torch.tensor(states, dtype=torch.float64).view(n, 1, 1, 2),
        "next_observation": torch.tensor(next_states, dtype=torch.float64).view(n, 1, 1, 2),
        "action": torch.tensor([0] * n if actions is None else actions),
        "reward": column(rewards),
        "terminal": column(terminals),
    }


def loss(name, parameters, batch, target=None, **settings):
    forward = Forward(PLAIN, parameters, batch, LossSettings(**settings), target)
    return LOSS_FUNCTIONS[name](forward).item()


def small_case(seed, batch_size=6):
    """A random agent with biases, a random target network and a random batch."""
    rng = np.random.default_rng(seed)
    agents = []
    for _ in range(2):
        agent = networks.initialise(SMALL, rng, torch.float64)
        agents.append(
            {n: p + torch.from_numpy(rng.normal(0, 0.2, p.shape)) for n, p in agent.items()}
        )
    batch = {
        "observation": torch.from_numpy(rng.normal(0, 1.5, (batch_size, 1, 2, 2))),
        "next_observation": torch.from_numpy(rng.normal(0, 1.5, (batch_size, 1, 2, 2))),
        "action": torch.from_numpy(rng.integers(0, 4, batch_size)),
        "reward": torch.from_numpy(rng.normal(size=batch_size)),
        "terminal": torch.from_numpy((rng.random(batch_size) < 0.4).astype(float)),
    }
    return agents[0], agents[1], batch


# The simple maze, written out a second time and without arrays: the twin of `envs` for tests.


def maze_cells():
    """The 31 free cells, row by row."""
    return [
        (row, column) for row in range(1, 7) for column in range(1, 7) if column != 4 or row == 4
    ]


def maze_move(cell, action):
    row, column = cell
    rows, columns = [(-1, 0), (1, 0), (0, -1), (0, 1)][action]
    moved = (row + rows, column + columns)
    return moved if moved in maze_cells() else cell


def maze_picture(cell):
    free = maze_cells()
    return [
        [0.5 if (r, c) == cell else 0.0 if (r, c) in free else 1.0 for c in range(8)]
        for r in range(8)
    ]


def maze_pairs(dtype=torch.float64):
    """All 124 (state, action) pairs as a batch, and the 31 pictures."""
    pairs = [(cell, action) for cell in maze_cells() for action in range(4)]
    pictures = torch.tensor([[maze_picture(cell)] for cell in maze_cells()], dtype=dtype)
    batch = {
        "observation": torch.tensor([[maze_picture(c)] for c, _ in pairs], dtype=dtype),
        "next_observation": torch.tensor(
            [[maze_picture(maze_move(c, a))] for c, a in pairs], dtype=dtype
        ),
        "action": torch.tensor([a for _, a in pairs]),
        "reward": torch.zeros(124, dtype=dtype),
        "terminal": torch.zeros(124, dtype=dtype),
    }
    return batch, pictures


# Values by hand


def test_transition_loss_leaves_terminal_transitions_out():
    # p(x, a) = (x_2, 0) + (0, 3) for action 1.
    parameters = plain_agent(transition_weight=[[0, 1, 0, 0, 0, 0], [0, 0, 0, 3, 0, 0]])
    batch = plain_batch(
        [[1.0, 2.0], [0.5, -1.0], [9.0, 9.0]],
        [[2.0, 2.0], [0.0, 1.0], [-9.0, 0.0]],
        actions=[0, 1, 2],
        terminals=[0.0, 0.0, 1.0],
    )
    # x + p: (3, 2), (-0.5, 2); differences (1, 0), (-0.5, 1); the third counts as zero, 6 numbers.
    assert loss("transition", parameters, batch) == pytest.approx((1 + 0.25 + 1) / 6, abs=1e-15)


def test_reward_loss():
    # r(x, a) = x_1 - 2 [a = 3] + 0.5
    parameters = plain_agent(reward_weight=[[1, 0, 0, 0, 0, -2]], reward_bias=[0.5])
    batch = plain_batch([[1.0, 7.0], [2.0, 7.0]], [[0.0, 0.0]] * 2, [0, 3], [1.0, -0.1], [0.0, 1.0])
    # Predictions 1.5 and 0.5; terminal transitions count.
    assert loss("reward", parameters, batch) == pytest.approx((0.25 + 0.36) / 2, abs=1e-15)


def test_discount_loss_wants_zero_where_terminal():
    parameters = plain_agent(discount_weight=[[0, 1, 0, 0, 0, 0]], discount_bias=[0.1])
    batch = plain_batch([[0.0, 0.5], [0.0, 0.2]], [[0.0, 0.0]] * 2, terminals=[0.0, 1.0])
    # Predictions 0.6 and 0.3 against 0.9 and 0.
    assert loss("discount", parameters, batch) == pytest.approx((0.09 + 0.09) / 2, abs=1e-15)
    # Against 0.5 and 0.
    halved = loss("discount", parameters, batch, discount_factor=0.5)
    assert halved == pytest.approx((0.01 + 0.09) / 2, abs=1e-15)


def test_volume_loss_is_zero_in_the_cube_and_capped_at_100():
    batch = plain_batch([[1.0, -1.0], [0.3, 0.1], [-1.5, 0.2], [30.0, 4.0]], [[0.0, 0.0]] * 4)
    # 0, 0, 1.25 and min(899, 100).
    assert loss("volume", plain_agent(), batch) == pytest.approx((1.25 + 100) / 4, abs=1e-13)


def test_volume_of_images_takes_the_maximum_over_channels_at_each_position():
    images = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    images[0, 0, 0, 0], images[0, 2, 0, 0] = 2.0, -3.0
    images[1, 1, 1, 0] = 1.5
    # One position at 9 - 1, one at 2.25 - 1, six at 0.
    assert volume(images).tolist() == pytest.approx([8 / 4, 1.25 / 4], abs=1e-15)
    assert volume(images).mean().item() == pytest.approx((8 + 1.25) / 8, abs=1e-15)


def test_random_pairs_loss_compares_each_state_with_the_one_before_it():
    batch = plain_batch([[0.0, 0.0], [0.3, 0.4], [0.3, -0.2]], [[5.0, 5.0]] * 3)
    # Distances to the one before (the first against the last): sqrt(0.13), 0.5, 0.6.
    expected = (math.exp(-5 * math.sqrt(0.13)) + math.exp(-2.5) + math.exp(-3)) / 3
    assert loss("random_pairs", plain_agent(), batch) == pytest.approx(expected, abs=1e-15)
    doubled = math.exp(-10 * math.sqrt(0.13)) + math.exp(-5) + math.exp(-6)
    assert loss("random_pairs", plain_agent(), batch, pair_scale=10.0) == pytest.approx(doubled / 3)


def test_random_pairs_of_a_batch_of_two_are_one_pair_twice():
    batch = plain_batch([[0.0, 0.0], [0.6, 0.8]], [[0.0, 0.0]] * 2)
    assert loss("random_pairs", plain_agent(), batch) == pytest.approx(math.exp(-5), abs=1e-15)


def test_consecutive_pairs_loss_and_the_clip_of_its_square():
    batch = plain_batch(
        [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]],
        [[0.3, 0.4], [1.0, 1.0], [50.0, 0.0], [0.0, 1e-4]],
        terminals=[1.0, 0.0, 0.0, 0.0],
    )
    # Squares 0.25, 0 -> 1e-6, 2500 -> 10, 1e-8 -> 1e-6; a terminal transition counts.
    expected = math.exp(-2.5) + 2 * math.exp(-5e-3) + math.exp(-5 * math.sqrt(10))
    value = loss("consecutive_pairs", plain_agent(), batch)
    assert value == pytest.approx(expected / 4, abs=1e-15)


def test_pairs_of_images_use_the_norm_of_the_flattened_difference():
    first, second = torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)
    second[0, 0, 0, 0], second[0, 2, 7, 7] = 0.3, -0.4
    assert pair_repulsion(first, second, 5.0).item() == pytest.approx(math.exp(-2.5), rel=1e-6)


def test_gradient_of_coinciding_pairs_is_zero():
    states = torch.ones(3, 2, dtype=torch.float64, requires_grad=True)
    pair_repulsion(states, torch.ones(3, 2, dtype=torch.float64), 5.0).sum().backward()
    assert (states.grad == 0).all()


# Q(x, .) of the agent: (x_1, x_2, 0, 0); of the target network: (0, 0, 10 x_1, 20 x_2).
ONLINE = {"q_weight": [[1, 0], [0, 1], [0, 0], [0, 0]]}
TARGET = {"q_weight": [[0, 0], [0, 0], [10, 0], [0, 20]]}
Q_BATCH = {
    "states": [[3.0, 1.0], [0.5, 2.0]],
    "next_states": [[1.0, 2.0], [-4.0, -1.0]],
    "actions": [0, 1],
    "rewards": [1.0, -0.1],
}


def test_plain_q_loss_takes_the_target_networks_maximum():
    batch = plain_batch(**Q_BATCH)
    value = loss("q", plain_agent(**ONLINE), batch, plain_agent(**TARGET))
    # Target values (0, 0, 10, 40), (0, 0, -40, -20): maxima 40, 0. Taken: Q = 3 and 2.
    errors = (1 + 0.9 * 40 - 3) ** 2 + (-0.1 + 0.9 * 0 - 2) ** 2
    assert value == pytest.approx(errors / 2 / 4, rel=1e-14)


def test_double_q_loss_lets_the_agent_choose_and_the_target_judge():
    batch = plain_batch(**Q_BATCH)
    value = loss("q", plain_agent(**ONLINE), batch, plain_agent(**TARGET), double_q=True)
    # The agent prefers action 1 at (1, 2) and action 2 (the first of two zeros) at (-4, -1).
    errors = (1 + 0.9 * 0 - 3) ** 2 + (-0.1 + 0.9 * -40 - 2) ** 2
    assert value == pytest.approx(errors / 2 / 4, rel=1e-14)


def test_q_loss_does_not_look_past_a_terminal():
    batch = plain_batch(**Q_BATCH, terminals=[1.0, 0.0])
    value = loss("q", plain_agent(**ONLINE), batch, plain_agent(**TARGET))
    errors = (1 - 3) ** 2 + (-0.1 - 2) ** 2
    assert value == pytest.approx(errors / 2 / 4, rel=1e-14)


def test_q_loss_is_the_mean_over_all_outputs_where_untaken_actions_target_themselves():
    batch = plain_batch(**Q_BATCH)
    values = torch.tensor([[3.0, 1.0, 0.0, 0.0], [0.5, 2.0, 0.0, 0.0]])
    targets = values.clone()
    targets[0, 0], targets[1, 1] = 1 + 0.9 * 40, -0.1
    expected = torch.nn.functional.mse_loss(values, targets).item()
    value = loss("q", plain_agent(**ONLINE), batch, plain_agent(**TARGET))
    assert value == pytest.approx(expected, rel=1e-6)


def test_without_a_target_network_the_agent_is_its_own():
    batch = plain_batch(**Q_BATCH)
    agent = plain_agent(**ONLINE)
    # Own maxima at the next states: 2 and 0.
    errors = (1 + 0.9 * 2 - 3) ** 2 + (-0.1 - 2) ** 2
    assert loss("q", agent, batch) == pytest.approx(errors / 2 / 4, rel=1e-14)
    assert loss("q", agent, batch) == loss("q", agent, batch, target=agent)


def test_target_network_encodes_the_next_picture_itself():
    agent, target, batch = small_case(20)
    # Without an encoder of its own, the target would not change with it.
    moved = {**target, "encoder.2.bias": target["encoder.2.bias"] + 1.0}
    first = Forward(SMALL, agent, batch, LossSettings(), target).q_target
    second = Forward(SMALL, agent, batch, LossSettings(), moved).q_target
    going_on = batch["terminal"] == 0
    assert (first != second)[going_on].all()
    assert (first == second)[~going_on].all()


# Gradients


# Only the Q loss has a target, and with it variants.
@pytest.mark.parametrize(
    ("name", "own_target", "double_q"),
    [(name, False, False) for name in LOSSES]
    + [("q", True, False), ("q", False, True), ("q", True, True)],
)
def test_gradient_matches_central_differences(name, own_target, double_q):
    agent, other, batch = small_case(11)
    settings = LossSettings(double_q=double_q)
    # Outside training the agent's own Q is the target, held fixed while the agent moves.
    fixed = {n: p.clone() for n, p in agent.items()} if own_target else other

    def value(parameters):
        return LOSS_FUNCTIONS[name](Forward(SMALL, parameters, batch, settings, fixed))

    def differentiated(parameters):
        target = None if own_target else other
        return LOSS_FUNCTIONS[name](Forward(SMALL, parameters, batch, settings, target))

    gradient = torch.func.grad(differentiated)(agent)
    step = 1e-6
    for parameter, p in agent.items():
        for index in range(p.numel()):
            shift = torch.zeros(p.numel(), dtype=torch.float64)
            shift[index] = step
            up = value({**agent, parameter: p + shift.view_as(p)})
            down = value({**agent, parameter: p - shift.view_as(p)})
            numeric = (up - down).item() / (2 * step)
            exact = gradient[parameter].flatten()[index].item()
            assert exact == pytest.approx(numeric, abs=2e-8), (parameter, index)


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_reaches_exactly_the_components_that_are_listed(name):
    agent, other, batch = small_case(12)

    def value(parameters):
        forward = Forward(SMALL, parameters, batch, LossSettings(double_q=True), other)
        return LOSS_FUNCTIONS[name](forward)

    gradient = torch.func.grad(value)(agent)
    moved = {networks.component_of(n) for n, g in gradient.items() if g.abs().max() > 0}
    assert moved == set(LOSS_COMPONENTS[name])


def test_transition_gradient_enters_both_encodings():
    agent, _, batch = small_case(13)
    batch["terminal"].zero_()

    def gradient(detached):
        parameters = {n: p.clone().requires_grad_() for n, p in agent.items()}
        forward = Forward(SMALL, parameters, batch, LossSettings())
        if detached is not None:
            # A cached property is stored in the instance's dictionary.
            forward.__dict__[detached] = getattr(forward, detached).detach()
        LOSS_FUNCTIONS["transition"](forward).backward()
        return parameters["encoder.1.weight"].grad

    whole = gradient(None)
    parts = gradient("states") + gradient("next_states")
    assert gradient("states").abs().max() > 1e-3
    torch.testing.assert_close(whole, parts, atol=1e-14, rtol=0)


# Structure losses and their symmetry


def test_structure_losses_do_not_see_the_sign_of_the_embedding():
    agent, _, batch = small_case(14)
    mirrored = {**agent}
    for name in ("encoder.2.weight", "encoder.2.bias"):
        mirrored[name] = -agent[name]
    before = all_losses(Forward(SMALL, agent, batch, LossSettings()))
    after = all_losses(Forward(SMALL, mirrored, batch, LossSettings()))
    for name in ("volume", "random_pairs", "consecutive_pairs"):
        assert before[name].item() == pytest.approx(after[name].item(), abs=1e-15)
    for name in ("transition", "reward", "discount", "q"):
        assert before[name].item() != pytest.approx(after[name].item(), rel=1e-3)


def test_structure_losses_see_only_the_encoder():
    agent, other, batch = small_case(15)
    mixed = {n: (p if n.startswith("encoder") else other[n]) for n, p in agent.items()}
    before = all_losses(Forward(SMALL, agent, batch, LossSettings()))
    after = all_losses(Forward(SMALL, mixed, batch, LossSettings()))
    for name in ("volume", "random_pairs", "consecutive_pairs"):
        assert torch.equal(before[name], after[name])


def test_all_losses_come_in_the_order_of_an_update():
    agent, other, batch = small_case(16)
    forward = Forward(SMALL, agent, batch, LossSettings(), other)
    together = all_losses(forward)
    assert tuple(together) == LOSSES
    for name, value in together.items():
        alone = Forward(SMALL, agent, batch, LossSettings(), other)
        assert torch.equal(value, LOSS_FUNCTIONS[name](alone))


# Exact expectations in the simple maze


def test_maze_twin_has_31_states_and_34_moves_into_a_wall():
    pairs = [(cell, action) for cell in maze_cells() for action in range(4)]
    assert len(maze_cells()) == 31
    assert len(pairs) == 124
    assert sum(maze_move(cell, action) == cell for cell, action in pairs) == 34


def test_moves_into_a_wall_put_34_124ths_under_the_consecutive_pair_loss():
    batch, pictures = maze_pairs()
    agent = networks.initialise(SIMPLE_MAZE, np.random.default_rng(0), torch.float64)
    # Spread far beyond the clip, every other pair contributes exp(-5 sqrt 10) = 1.4e-7.
    agent["encoder.5.weight"] = agent["encoder.5.weight"] * 1e6
    losses = exact_losses(Forward(SIMPLE_MAZE, agent, batch, LossSettings()), pictures)
    expected = (34 * math.exp(-5e-3) + 90 * math.exp(-5 * math.sqrt(10))) / 124
    assert losses["consecutive_pairs"].item() == pytest.approx(expected, abs=1e-15)
    # A state is paired with itself as often as any other: 31 of 31 x 31.
    expected = (31 * math.exp(-5e-3) + 31 * 30 * math.exp(-5 * math.sqrt(10))) / 31**2
    assert losses["random_pairs"].item() == pytest.approx(expected, abs=1e-15)


def test_exact_random_pair_loss_is_the_mean_over_all_ordered_pairs():
    batch, pictures = maze_pairs()
    agent = networks.initialise(SIMPLE_MAZE, np.random.default_rng(1), torch.float64)
    forward = Forward(SIMPLE_MAZE, agent, batch, LossSettings(pair_scale=4.0))
    value = exact_losses(forward, pictures)["random_pairs"].item()
    states = networks.encode(SIMPLE_MAZE, agent, pictures).tolist()
    total = 0.0
    for x in states:
        for y in states:
            square = sum((a - b) ** 2 for a, b in zip(x, y, strict=True))
            total += math.exp(-4.0 * math.sqrt(min(max(square, 1e-6), 10.0)))
    assert value == pytest.approx(total / 31**2, abs=1e-14)


def test_held_out_samples_keep_the_batchs_own_random_pairs():
    agent, _, batch = small_case(17)
    forward = Forward(SMALL, agent, batch, LossSettings())
    sampled = exact_losses(forward, batch["observation"], pairwise=False)
    assert torch.equal(sampled["random_pairs"], LOSS_FUNCTIONS["random_pairs"](forward))


def test_exact_losses_lift_over_a_population():
    batch, pictures = maze_pairs()
    agents = [
        networks.initialise(SIMPLE_MAZE, np.random.default_rng(seed), torch.float64)
        for seed in range(3)
    ]

    def losses(parameters):
        return exact_losses(Forward(SIMPLE_MAZE, parameters, batch, LossSettings()), pictures)

    lifted = torch.func.vmap(losses)(networks.stack(agents))
    for index, agent in enumerate(agents):
        for name, value in losses(agent).items():
            assert lifted[name][index].item() == pytest.approx(value.item(), abs=1e-13)
