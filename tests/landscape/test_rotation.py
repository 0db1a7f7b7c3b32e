"""Agents turned together with their dynamics: what stays, to rounding, and what does not."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH_SYMBOLIC, SIMPLE_MAZE, Dense
from crar_diag.agent.loading import load_agent
from crar_diag.agent.losses import Forward, LossSettings, all_losses
from crar_diag.errors import InputError
from crar_diag.landscape.agents import agent_problem
from crar_diag.landscape.problem import evaluate
from crar_diag.landscape.rotation import Rotation, rotated, rotation
from crar_diag.landscape.vectors import doubled

TRANSFERS = Path(__file__).parents[2] / "examples" / "checkpoints" / "simple-maze" / "transfers"
WRONG = load_agent(TRANSFERS / "original-base-seed0-lr8e-05-seed17.safetensors")
PROBLEM = agent_problem(WRONG, "inverse", dtype=torch.float64, moves=("*",), refits=())
KEPT = ["transition", "reward", "discount", "random_pairs", "consecutive_pairs", "q"]


def random_agent(architecture, seed=0):
    """Weights and biases of all kinds: what is turned must not rest on zeros."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64) / math.prod(shape) ** 0.4
        for name, shape in architecture.shapes().items()
    }


def losses(parameters):
    with torch.no_grad():
        return {name: v.item() for name, v in PROBLEM.values(parameters).items()}


def embedding(parameters):
    with torch.no_grad():
        return PROBLEM.seen(parameters)


def mirror(degrees):
    c, s = math.cos(math.radians(2 * degrees)), math.sin(math.radians(2 * degrees))
    return np.array([[c, s], [s, -c]])


# The matrix


def test_a_rotation_turns_counter_clockwise():
    x = np.array([1.0, 0.0])
    np.testing.assert_allclose(rotation(30) @ x, [math.sqrt(3) / 2, 0.5], atol=1e-15)
    np.testing.assert_allclose(rotation(-30) @ x, [math.sqrt(3) / 2, -0.5], atol=1e-15)
    for angle in (0, 17.3, 100, 190, 275, -400, 1000):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        np.testing.assert_allclose(rotation(angle), [[c, -s], [s, c]], atol=3e-15)


def test_quarter_turns_are_exact():
    assert rotation(0).tolist() == [[1, 0], [0, 1]]
    assert rotation(90).tolist() == [[0, -1], [1, 0]]
    assert rotation(180).tolist() == [[-1, 0], [0, -1]]
    assert rotation(-90).tolist() == rotation(270).tolist() == [[0, 1], [-1, 0]]
    assert rotation(360).tolist() == [[1, 0], [0, 1]]
    assert not np.signbit(rotation(180)[0, 1])


@pytest.mark.parametrize("angle", [float("nan"), float("inf")])
def test_an_angle_is_finite(angle):
    with pytest.raises(InputError, match="expected a finite angle, found"):
        rotation(angle)


# The agent


@pytest.mark.parametrize("map", [rotation(37), rotation(180), rotation(-90), mirror(20)])
@pytest.mark.parametrize("parameters", [doubled(WRONG.parameters), random_agent(SIMPLE_MAZE)])
def test_a_turned_agent_with_turned_dynamics_has_all_losses_but_the_volume_loss(parameters, map):
    before, after = losses(parameters), losses(rotated(SIMPLE_MAZE, parameters, map))
    for name in KEPT:
        assert after[name] == pytest.approx(before[name], rel=1e-11, abs=1e-20), name


def test_the_volume_loss_is_that_of_the_turned_states():
    parameters, map = doubled(WRONG.parameters), rotation(45)
    turned = embedding(parameters).numpy() @ map.T
    expected = np.clip((turned**2).max(1) - 1, 0, 100).mean()
    found = losses(rotated(SIMPLE_MAZE, parameters, map))["volume"]
    assert found == pytest.approx(expected, rel=1e-12)
    # A square of states sticks out when it stands on a corner.
    assert found > 0.05 + losses(parameters)["volume"]


def test_the_states_are_turned_exactly():
    parameters = doubled(WRONG.parameters)
    before = embedding(parameters)
    half = embedding(rotated(SIMPLE_MAZE, parameters, rotation(180)))
    assert torch.equal(half, -before)
    some = embedding(rotated(SIMPLE_MAZE, parameters, rotation(30)))
    np.testing.assert_allclose(some, before.numpy() @ rotation(30).T, atol=1e-14)


def test_every_network_sees_the_state_turned_back():
    """Each against its formula: p' = R p(R^-1 x, a), r' = r(R^-1 x, a)."""
    parameters, map = random_agent(SIMPLE_MAZE), mirror(70)
    turned = rotated(SIMPLE_MAZE, parameters, map)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(8, 2)))
    actions = torch.arange(4).repeat(2)
    back = x @ torch.from_numpy(map)  # R^-1 x, as rows: R is orthogonal
    np.testing.assert_allclose(
        networks.predict_state(SIMPLE_MAZE, turned, x, actions),
        networks.predict_state(SIMPLE_MAZE, parameters, back, actions).numpy() @ map.T,
        atol=1e-13,
    )
    for predict in (networks.predict_reward, networks.predict_discount):
        np.testing.assert_allclose(
            predict(SIMPLE_MAZE, turned, x, actions),
            predict(SIMPLE_MAZE, parameters, back, actions),
            atol=1e-13,
        )
    np.testing.assert_allclose(
        networks.q_values(SIMPLE_MAZE, turned, x),
        networks.q_values(SIMPLE_MAZE, parameters, back),
        atol=1e-13,
    )


def test_a_whole_turn_is_the_identity_bit_for_bit():
    parameters = WRONG.parameters
    for name, p in rotated(SIMPLE_MAZE, parameters, rotation(360)).items():
        assert p.dtype == parameters[name].dtype
        assert torch.equal(p, parameters[name]), name


def test_rotations_compose():
    parameters = doubled(WRONG.parameters)
    one = rotated(SIMPLE_MAZE, rotated(SIMPLE_MAZE, parameters, rotation(50)), rotation(75))
    other = rotated(SIMPLE_MAZE, parameters, rotation(125))
    for name, p in one.items():
        torch.testing.assert_close(p, other[name], rtol=0, atol=1e-14)


def test_a_mirrored_agent_is_reached_by_no_rotation():
    """Its determinant is -1 at every angle: it is the path that is missing, not the symmetry."""
    parameters = doubled(WRONG.parameters)
    before = embedding(parameters).numpy()
    mirrored = embedding(rotated(SIMPLE_MAZE, parameters, mirror(0))).numpy()
    for angle in range(360):
        turned = before @ rotation(angle).T
        assert np.abs(turned - mirrored).max() > 0.5


def test_the_given_agent_is_not_changed():
    parameters = doubled(WRONG.parameters)
    before = {name: p.clone() for name, p in parameters.items()}
    turned = rotated(SIMPLE_MAZE, parameters, rotation(33))
    for name, p in turned.items():
        assert torch.equal(parameters[name], before[name])
        assert p.data_ptr() != parameters[name].data_ptr(), name


def test_spatial_states_turn_their_channels():
    architecture = LABYRINTH_SYMBOLIC
    parameters = random_agent(architecture)
    map = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    rng = np.random.default_rng(2)
    shape = (6, *architecture.observation_shape)
    batch = {
        "observation": torch.from_numpy(rng.normal(size=shape)),
        "next_observation": torch.from_numpy(rng.normal(size=shape)),
        "action": torch.from_numpy(rng.integers(4, size=6)),
        "reward": torch.from_numpy(rng.normal(size=6)),
        "terminal": torch.from_numpy(rng.integers(2, size=6).astype(float)),
    }
    settings = LossSettings(double_q=True)
    before, after = (
        all_losses(Forward(architecture, p, batch, settings))
        for p in (parameters, rotated(architecture, parameters, map))
    )
    for name in KEPT:
        torch.testing.assert_close(after[name], before[name], rtol=1e-11, atol=0)
    assert abs(after["volume"] - before["volume"]) > 1e-6


# Losses along the angles


def test_along_the_angles_only_the_volume_loss_changes():
    parameters = doubled(WRONG.parameters)
    degrees = np.array([0.0, 45.0, 90.0, 180.0])
    grid = Rotation(SIMPLE_MAZE, parameters, degrees)
    found = evaluate(PROBLEM, grid.points(0, 4), {}).losses
    for name in KEPT:
        values = found[name].numpy()
        np.testing.assert_allclose(values, values[0], rtol=1e-11, err_msg=name)
    # A quarter turn carries the square onto itself.
    volume = found["volume"].numpy()
    np.testing.assert_allclose(volume[2:], volume[0], rtol=1e-12)
    assert volume[1] > volume[0] + 0.05


def test_with_frozen_dynamics_the_encoder_turns_alone():
    parameters = doubled(WRONG.parameters)
    degrees = np.array([0.0, 90.0, 180.0])
    grid = Rotation(SIMPLE_MAZE, parameters, degrees, dynamics_turn=False)
    points = grid.points(0, 3)
    assert set(points) == {name for name in parameters if name.startswith("encoder.")}
    held = {name: p for name, p in parameters.items() if name not in points}
    found = evaluate(PROBLEM, points, held).losses
    for k, angle in enumerate(degrees):
        with torch.no_grad():
            x = embedding(parameters) @ torch.from_numpy(rotation(angle).T)
            expected = PROBLEM.losses(held, x)
        for name, value in expected.items():
            assert found[name][k].item() == pytest.approx(value.item(), rel=1e-9, abs=1e-18), name
    assert found["transition"][1] > 3 * found["transition"][0]


def test_some_of_the_points_are_those_of_all():
    grid = Rotation(SIMPLE_MAZE, WRONG.parameters, np.linspace(0, 180, 7))
    whole, part = grid.points(0, 7), grid.points(2, 5)
    assert grid.shape == (7,)
    for name, p in part.items():
        assert p.dtype == torch.float32
        assert torch.equal(p, whole[name][2:5])


# What is refused


@pytest.mark.parametrize("map", [2 * np.eye(2), np.eye(3), np.array([[1.0, 1e-6], [0, 1]])])
def test_a_map_is_orthogonal_and_fits(map):
    with pytest.raises(InputError, match=r"expected an orthogonal map of shape \(2, 2\) for the"):
        rotated(SIMPLE_MAZE, WRONG.parameters, map)


def test_a_transition_ends_linearly():
    layers = (Dense(6, 2, tanh=True),)
    with pytest.raises(InputError, match=r"expected the transition of .* to end with a linear"):
        rotated(replace(SIMPLE_MAZE, transition=layers), WRONG.parameters, rotation(10))


def test_a_network_begins_with_weights():
    with pytest.raises(InputError, match=r"expected the q of .* to begin with a layer of weights"):
        rotated(replace(SIMPLE_MAZE, q=()), WRONG.parameters, rotation(10))


def test_spatial_states_are_no_points_of_a_plane():
    with pytest.raises(InputError, match=r"states in the plane, .* of shape \(3, 8, 8\)$"):
        Rotation(LABYRINTH_SYMBOLIC, random_agent(LABYRINTH_SYMBOLIC), np.zeros(1))
