"""What is measured of base models, against hand-made encoders and finite differences."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import SIMPLE_MAZE, Dense, Flatten
from crar_diag.agent.assessment import assess
from crar_diag.agent.config import LOSSES
from crar_diag.agent.config_sources import build_config
from crar_diag.agent.exact import STEP_WEIGHTS, losses_of_embedding
from crar_diag.agent.loading import load_agent
from crar_diag.agent.loss_evaluation import exact_evaluation
from crar_diag.agent.losses import LossSettings
from crar_diag.agent.presets import preset
from crar_diag.agent.realignment import fold
from crar_diag.embedding.prediction import measure_base
from crar_diag.envs import simple_maze
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError
from tests.agent.test_evaluation import random_agent
from tests.agent.test_losses import maze_cells, maze_move
from tests.runs import labyrinth_config, save_agent

BASES = Path(__file__).parents[2] / "examples" / "checkpoints" / "simple-maze"
IMAGES = (
    "exchanged",
    "rotated_180",
    "mirrored_x1",
    "mirrored_x2",
    "swapped_diagonal",
    "best_reflection",
    "best_far_rotation",
)

LINEAR = replace(SIMPLE_MAZE, encoder=(Flatten(), Dense(64, 2, tanh=False)))
# Few enough parameters for finite differences.
SMALL = replace(SIMPLE_MAZE, encoder=(Flatten(), Dense(64, 2), Dense(2, 2, tanh=False)))


@pytest.fixture(scope="module")
def shipped():
    return load_agent(BASES / "base-seed1.safetensors")


@pytest.fixture(scope="module")
def measured(shipped):
    return measure_base(shipped, "inverse")


def toy(shipped, architecture, seed=0, **encoder):
    """A random agent with small heads and, by `encoder.<name>`, chosen encoder parameters."""
    parameters = random_agent(architecture, seed, torch.float64)
    parameters |= {"encoder." + name.replace("_", "."): p for name, p in encoder.items()}
    return replace(shipped, architecture=architecture, parameters=parameters)


def doubles(agent):
    return {name: p.double() for name, p in agent.parameters.items()}


def exact(agent, domain, settings=None, parameters=None):
    return exact_evaluation(
        agent.architecture,
        networks.stack([parameters or doubles(agent)]),
        Observer("simple-maze", "symbolic", domain),
        settings or LossSettings(),
    )


def total(losses):
    return sum(STEP_WEIGHTS[name] * losses[name] for name in LOSSES)


def embedding_of(agent, domain):
    return torch.from_numpy(exact(agent, domain).embedding[0])


# The losses as functions of the embedding


@pytest.mark.parametrize("settings", [LossSettings(), LossSettings(0.5, True, 3.0)])
@pytest.mark.parametrize("seed", range(2))
def test_losses_of_an_encoders_embedding_are_its_exact_losses(shipped, seed, settings):
    agent = toy(shipped, SIMPLE_MAZE, seed)
    agent.parameters["encoder.5.weight"] *= 8  # large enough for the volume loss
    evaluation = exact(agent, "normal", settings)
    embedding = torch.from_numpy(evaluation.embedding[0])
    found = losses_of_embedding(SIMPLE_MAZE, agent.parameters, embedding, settings)
    assert tuple(found) == LOSSES
    for name, loss in found.items():
        assert loss.item() == pytest.approx(evaluation.losses[name][0], abs=1e-10), name
    assert found["volume"] > 0.1


def test_losses_of_an_embedding_need_no_encoder(shipped):
    embedding = embedding_of(shipped, "normal")
    heads = {n: p for n, p in doubles(shipped).items() if not n.startswith("encoder")}
    found = losses_of_embedding(SIMPLE_MAZE, heads, embedding)
    assert found["transition"].item() == pytest.approx(
        exact(shipped, "normal").losses["transition"][0], abs=1e-12
    )


# Hand-made encoders


def test_a_linear_encoder_is_odd_and_starts_half_a_turn_away(shipped):
    weight = torch.from_numpy(np.random.default_rng(0).normal(0, 0.3, (2, 64)))
    agent = toy(shipped, LINEAR, **{"1_weight": weight, "1_bias": torch.zeros(2).double()})
    found = measure_base(agent, "inverse")
    sizes = embedding_of(agent, "normal").norm(dim=1)
    assert found["oddness"] == 0
    assert found["initial_distance"] == pytest.approx(2 * sizes.mean().item(), rel=1e-14)
    assert found["initial_transition"] == pytest.approx(found["rotated_180_transition"], rel=1e-13)
    assert found["initial_sum"] == pytest.approx(found["rotated_180_sum"], rel=1e-13)
    assert found["initial_transition"] != pytest.approx(found["base_transition"], rel=1e-3)


def test_a_bias_is_what_makes_an_encoder_less_odd(shipped):
    bias = torch.tensor([0.3, -0.4]).double()
    agent = toy(shipped, LINEAR, **{"1_weight": torch.zeros(2, 64).double(), "1_bias": bias})
    found = measure_base(agent, "inverse")
    # All states at the bias, in either domain: f(o') + f(o) is twice f(o).
    assert found["oddness"] == pytest.approx(2, rel=1e-15)
    assert found["initial_distance"] == 0
    # And rooms at one point have no places to change.
    assert found["exchanged_sum"] == pytest.approx(found["base_sum"], rel=1e-12)


def test_an_even_encoder_starts_where_it_should_end(shipped):
    half = torch.from_numpy(np.random.default_rng(1).normal(0, 0.5, (1, 64)))
    outer = torch.tensor([[1.0, 1.0], [-0.5, -0.5]]).double()
    encoder = {
        "1_weight": torch.cat([half, -half]),
        "1_bias": torch.tensor([0.7, 0.7]).double(),
        "2_weight": outer,
        "2_bias": torch.zeros(2).double(),
    }
    found = measure_base(toy(shipped, SMALL, **encoder), "inverse")
    assert found["initial_distance"] == pytest.approx(0, abs=1e-14)
    assert found["oddness"] == pytest.approx(2, rel=1e-13)
    for name in (*LOSSES, "sum"):
        assert found[f"initial_{name}"] == pytest.approx(found[f"base_{name}"], abs=1e-13), name


def test_the_exact_solution_of_the_transfer_is_as_good_as_the_base(shipped, measured):
    """The negated first kernel gives on -o what the base gives on o."""
    parameters = dict(shipped.parameters)
    parameters["encoder.1.weight"] = -parameters["encoder.1.weight"]
    metadata = shipped.metadata.model_copy(update={"domain": "inverse"})
    oracle = replace(shipped, parameters=parameters, metadata=metadata)
    stays, returns = measure_base(oracle, "inverse"), measure_base(oracle, "normal")
    assert stays["initial_distance"] == 0
    for name in (*LOSSES, "sum"):
        assert stays[f"initial_{name}"] == stays[f"base_{name}"]
        assert stays[f"base_{name}"] == pytest.approx(measured[f"base_{name}"], rel=1e-12), name
    # Its transfer back to the base's domain is the base's transfer to its.
    assert returns == pytest.approx(measured, rel=1e-9)


def test_a_base_of_no_size_has_no_oddness(shipped):
    nothing = {"1_weight": torch.zeros(2, 64).double(), "1_bias": torch.zeros(2).double()}
    agent = toy(shipped, LINEAR, **nothing)
    # It predicts itself without error, and no quotient of that exists either.
    for name in agent.parameters:
        if name.startswith("transition"):
            agent.parameters[name].zero_()
    found = measure_base(agent, "inverse")
    assert math.isnan(found["oddness"])
    assert math.isnan(found["mirrored_x1_ratio"])
    assert found["base_transition"] == found["mirrored_x1_transition"] == 0


# Shipped bases


def test_the_keys_are_stable_and_their_values_numbers(measured):
    expected = ["oddness", "initial_distance"]
    expected += [f"{at}_{loss}" for at in ("base", "initial") for loss in (*LOSSES, "sum")]
    expected += [f"{image}_{of}" for image in IMAGES for of in ("transition", "ratio", "sum")]
    expected += ["best_reflection_axis", "best_far_rotation_angle"]
    expected += [f"gradient_norm_{loss}" for loss in (*LOSSES, "sum")]
    expected += [
        f"{point}_{of}"
        for point in ("initial", "best_reflection")
        for of in ("curvature_largest", "curvature_smallest", "negative_curvatures")
    ]
    assert len(expected) == 55
    assert list(measured) == expected
    assert {type(value) for value in measured.values()} == {float}
    assert np.isfinite(list(measured.values())).all()


def test_the_weights_are_those_of_the_published_updates():
    weights = preset("simple-maze").loss_weights
    assert {name: getattr(weights, name).root for name in LOSSES} == {
        name: ((0, weight),) for name, weight in STEP_WEIGHTS.items()
    }


def test_losses_at_the_start_and_at_the_base_are_those_of_evaluate(shipped, measured):
    for point, domain in (("base", None), ("initial", "inverse")):
        (found,) = assess([shipped.path], domain)
        for name in LOSSES:
            assert measured[f"{point}_{name}"] == pytest.approx(
                found.losses[name], rel=1e-3, abs=1e-8
            ), (point, name)
        assert measured[f"{point}_sum"] == pytest.approx(total(found.losses), rel=1e-4)


def test_distances_are_means_over_the_states(shipped, measured):
    base, start = (embedding_of(shipped, domain).tolist() for domain in ("normal", "inverse"))
    apart = [math.dist(x, y) for x, y in zip(base, start, strict=True)]
    odd = [math.dist(x, [-v for v in y]) for x, y in zip(base, start, strict=True)]
    assert measured["initial_distance"] == pytest.approx(sum(apart) / 31, rel=1e-12)
    sizes = [math.hypot(*x) for x in base]
    assert measured["oddness"] == pytest.approx(sum(odd) / sum(sizes), rel=1e-12)


def test_losses_at_the_images_are_those_of_folded_agents(shipped, measured):
    maps = {
        "rotated_180": [[-1, 0], [0, -1]],
        "mirrored_x1": [[-1, 0], [0, 1]],
        "mirrored_x2": [[1, 0], [0, -1]],
        "swapped_diagonal": [[0, 1], [1, 0]],
    }
    axis = 2 * math.radians(measured["best_reflection_axis"])
    angle = math.radians(measured["best_far_rotation_angle"])
    maps["best_reflection"] = [
        [math.cos(axis), math.sin(axis)],
        [math.sin(axis), -math.cos(axis)],
    ]
    maps["best_far_rotation"] = [
        [math.cos(angle), -math.sin(angle)],
        [math.sin(angle), math.cos(angle)],
    ]
    for name, rows in maps.items():
        folded = fold(SIMPLE_MAZE, doubles(shipped), np.array(rows, dtype=float))
        losses = {n: v[0] for n, v in exact(shipped, "normal", None, folded).losses.items()}
        assert measured[f"{name}_transition"] == pytest.approx(losses["transition"], rel=1e-10)
        assert measured[f"{name}_sum"] == pytest.approx(total(losses), rel=1e-10)
        ratio = losses["transition"] / measured["base_transition"]
        assert measured[f"{name}_ratio"] == pytest.approx(ratio, rel=1e-9)


def test_the_exchanged_image_has_each_room_where_the_other_one_was(shipped, measured):
    base, heads = embedding_of(shipped, "normal"), doubles(shipped)
    # Up, down, left and right mean the same in all of the maze: where a room lies is what changes.
    columns = torch.tensor([column for _, column in maze_cells()])
    left, right = columns < 4, columns > 4
    line = base[right].mean(0) - base[left].mean(0)
    line /= line.norm()
    along = base @ line
    first, last = along[left].min(), along[right].max()
    image = base + (first + last - 2 * along)[:, None] * line  # right for the door alone
    image[left] = base[left] + (last - along[left].max()) * line
    image[right] = base[right] + (first - along[right].min()) * line
    losses = losses_of_embedding(SIMPLE_MAZE, heads, image)
    transition = losses["transition"].item()
    assert measured["exchanged_transition"] == pytest.approx(transition, rel=1e-10)
    assert measured["exchanged_sum"] == pytest.approx(total(losses).item(), rel=1e-10)
    ratio = transition / measured["base_transition"]
    assert measured["exchanged_ratio"] == pytest.approx(ratio, rel=1e-9)
    # The pairs are others: those of states in two rooms. No map of the whole does that.
    at_base = losses_of_embedding(SIMPLE_MAZE, heads, base)
    assert losses["random_pairs"] != pytest.approx(at_base["random_pairs"].item(), rel=1e-3)
    assert losses["consecutive_pairs"] != pytest.approx(
        at_base["consecutive_pairs"].item(), rel=1e-3
    )


def test_no_reflection_and_no_far_rotation_is_better_than_the_best(shipped, measured):
    base, heads = embedding_of(shipped, "normal"), doubles(shipped)

    def loss(degrees, sign):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        matrix = torch.tensor([[c, -sign * s], [s, sign * c]], dtype=torch.float64)
        return losses_of_embedding(SIMPLE_MAZE, heads, base @ matrix.T)["transition"].item()

    reflections = [loss(degrees, -1) for degrees in range(0, 360, 5)]
    rotations = [loss(degrees, 1) for degrees in range(45, 316, 5)]
    for name, losses in (("best_reflection", reflections), ("best_far_rotation", rotations)):
        assert measured[f"{name}_transition"] <= min(losses) + 1e-12
        # And the grid is not far from the least of these.
        assert measured[f"{name}_transition"] > 0.95 * min(losses)
    assert 0 <= measured["best_reflection_axis"] < 180
    assert 45 <= abs(measured["best_far_rotation_angle"]) <= 180


# Slopes and curvatures, with the Q target of the starting point held fixed


def fixed_target_losses(agent, embedding):
    """The losses of an embedding whose Q target is that of the given one, whatever it is."""
    parameters = doubles(agent)
    cells = maze_cells()
    successors = [cells.index(maze_move(cell, action)) for cell in cells for action in range(4)]
    q = networks.q_values(agent.architecture, parameters, embedding).detach()
    target = 0.9 * q[successors].amax(dim=1)

    def losses(x):
        found = losses_of_embedding(agent.architecture, parameters, x)
        values = networks.q_values(agent.architecture, parameters, x).flatten()
        found["q"] = (values - target).square().mean() / 4
        return found

    return losses


@pytest.fixture(scope="module")
def steep(shipped):
    """An agent whose every loss counts."""
    agent = toy(shipped, SMALL, 5)
    agent.parameters["encoder.2.weight"] *= 3
    agent.parameters["q.3.weight"] *= 3
    return agent, measure_base(agent, "inverse")


def test_gradient_norms_match_central_differences(steep):
    agent, measured = steep
    pictures = Observer("simple-maze", "symbolic", "inverse")(simple_maze.all_tiles())
    pictures = torch.from_numpy(pictures).double()
    losses = fixed_target_losses(agent, networks.encode(SMALL, agent.parameters, pictures))

    def at(parameters):
        found = losses(networks.encode(SMALL, parameters, pictures))
        return np.array([found[name].item() for name in LOSSES])

    slopes, step = [], 1e-6
    for name, p in agent.parameters.items():
        if not name.startswith("encoder"):
            continue
        for index in range(p.numel()):
            shift = torch.zeros(p.numel(), dtype=torch.float64)
            shift[index] = step
            up = at({**agent.parameters, name: p + shift.view_as(p)})
            down = at({**agent.parameters, name: p - shift.view_as(p)})
            slopes.append((up - down) / (2 * step))
    slopes = np.array(slopes)
    for name, norm in zip(LOSSES, np.linalg.norm(slopes, axis=0), strict=True):
        assert norm > 1e-4, name
        assert measured[f"gradient_norm_{name}"] == pytest.approx(norm, rel=1e-6), name
    summed = slopes @ [STEP_WEIGHTS[name] for name in LOSSES]
    assert measured["gradient_norm_sum"] == pytest.approx(np.linalg.norm(summed), rel=1e-6)


@pytest.mark.parametrize("point", ["initial", "best_reflection"])
@pytest.mark.parametrize("who", ["steep", "shipped"])
def test_curvatures_match_central_differences(steep, shipped, measured, who, point):
    agent, found = steep if who == "steep" else (shipped, measured)
    embedding = embedding_of(agent, "inverse" if point == "initial" else "normal")
    if point == "best_reflection":
        axis = 2 * math.radians(found["best_reflection_axis"])
        c, s = math.cos(axis), math.sin(axis)
        embedding = embedding @ torch.tensor([[c, s], [s, -c]], dtype=torch.float64)
    losses = fixed_target_losses(agent, embedding)

    def gradient(flat):
        x = flat.view(31, 2).clone().requires_grad_()
        return torch.autograd.grad(total(losses(x)), x)[0].flatten()

    step, rows = 1e-6, torch.eye(62, dtype=torch.float64)
    flat = embedding.flatten()
    hessian = torch.stack(
        [(gradient(flat + step * e) - gradient(flat - step * e)) / (2 * step) for e in rows]
    )
    torch.testing.assert_close(hessian, hessian.T, atol=1e-6, rtol=1e-5)
    values = np.linalg.eigvalsh(hessian.numpy())
    assert found[f"{point}_curvature_largest"] == pytest.approx(values[-1], rel=1e-5)
    assert found[f"{point}_curvature_smallest"] == pytest.approx(values[0], rel=1e-5)
    assert found[f"{point}_negative_curvatures"] == (values < 0).sum()


# What is refused


def test_wrong_input_is_refused_in_one_sentence(shipped, tmp_path):
    with pytest.raises(InputError, match="unknown domain 'invers'"):
        measure_base(shipped, "invers")
    deep = replace(shipped, architecture=replace(SIMPLE_MAZE, state_shape=(3,)))
    with pytest.raises(InputError, match=r"states of shape \(2,\), found \(3,\)"):
        measure_base(deep, "inverse")
    other = load_agent(save_agent(tmp_path / "other.safetensors", labyrinth_config("0", 9)))
    with pytest.raises(InputError, match="needs the simple maze's 31 states") as caught:
        measure_base(other, "inverse")
    assert str(other.path) in str(caught.value)


def test_agents_of_the_rendered_maze_are_measured_alike(tmp_path):
    config = build_config("simple-maze", "quick", None, ["observation=pixels"])
    agent = load_agent(save_agent(tmp_path / "pixels.safetensors", config))
    found = measure_base(agent, "inverse")
    (assessed,) = assess([agent.path], "inverse")
    assert found["initial_sum"] == pytest.approx(total(assessed.losses), rel=1e-4)
