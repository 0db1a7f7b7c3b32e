"""Networks with their hidden units rearranged, and brought back."""

import math
from dataclasses import replace
from itertools import pairwise, permutations, product

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH, SIMPLE_MAZE, SIMPLE_MAZE_PIXELS, Dense
from crar_diag.errors import InputError
from crar_diag.landscape.symmetries import align

DYNAMICS = ("transition", "reward", "discount", "q")
ALL = ("encoder", *DYNAMICS)


def random_agent(architecture, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(shape, generator=generator, dtype=torch.float64) / shape[-1] ** 0.5).to(
            dtype
        )
        for name, shape in architecture.shapes().items()
    }


def shuffled(parameters, chains, seed):
    """The same functions with all hidden units in random places and with random signs."""
    rng = np.random.default_rng(seed)
    found = {name: p.clone() for name, p in parameters.items()}
    for chain in chains:
        for own, after in pairwise(chain):
            size = len(found[f"{own}.bias"])
            order = torch.from_numpy(rng.permutation(size))
            signs = torch.from_numpy(rng.choice([-1.0, 1.0], size)).to(found[f"{own}.bias"])
            found[f"{own}.weight"] = (found[f"{own}.weight"] * signs[:, None])[order]
            found[f"{own}.bias"] = (found[f"{own}.bias"] * signs)[order]
            found[f"{after}.weight"] = (found[f"{after}.weight"] * signs)[:, order]
    return found


def chains_of(architecture, components):
    return [
        [f"{c}.{k}" for k, layer in enumerate(architecture.layers(c)) if isinstance(layer, Dense)]
        for c in components
    ]


def outputs(architecture, parameters, seed=0):
    """What all five networks give on random inputs."""
    rng = np.random.default_rng(seed)
    pictures = torch.from_numpy(rng.normal(size=(6, *architecture.observation_shape)))
    states = networks.encode(architecture, parameters, pictures)
    inputs = torch.from_numpy(rng.normal(size=(6, 6)))
    return [states] + [
        networks.apply(architecture, c, parameters, inputs[:, :2] if c == "q" else inputs)
        for c in DYNAMICS
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_rearranged_network_is_brought_back_exactly(seed):
    a = random_agent(SIMPLE_MAZE, seed)
    b = shuffled(a, chains_of(SIMPLE_MAZE, ALL), seed + 10)
    found = align(SIMPLE_MAZE, a, b, ALL)
    assert found.distance_before > 10
    assert found.distance_after == 0
    for name, p in found.parameters.items():
        assert torch.equal(p, a[name]), name


@pytest.mark.parametrize("seed", range(3))
def test_the_function_never_changes(seed):
    a, b = (random_agent(SIMPLE_MAZE, s) for s in (seed, seed + 50))
    found = align(SIMPLE_MAZE, a, b, ALL)
    assert found.moved > 0
    before, after = outputs(SIMPLE_MAZE, b), outputs(SIMPLE_MAZE, found.parameters)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-13)


def test_the_distance_never_grows():
    for seed in range(3):
        a, b = (random_agent(SIMPLE_MAZE, s) for s in (seed, seed + 50))
        found = align(SIMPLE_MAZE, a, b)
        encoder = [name for name in a if name.startswith("encoder.")]
        for parameters, told in ((b, found.distance_before), (found.parameters, None)):
            expected = math.sqrt(sum(((parameters[n] - a[n]) ** 2).sum().item() for n in encoder))
            assert (told or found.distance_after) == pytest.approx(expected, rel=1e-12)
        assert found.distance_after < 0.99 * found.distance_before


def test_of_one_hidden_layer_the_best_of_all_arrangements_is_found():
    """Against all 4! 2^4 of them."""
    architecture = replace(SIMPLE_MAZE, q=(Dense(2, 4), Dense(4, 3, tanh=False)))
    a, b = (
        {n: p for n, p in random_agent(architecture, s).items() if n.startswith("q.")}
        for s in (0, 1)
    )
    distances = []
    for order, signs in product(permutations(range(4)), product([-1.0, 1.0], repeat=4)):
        rows, sign = list(order), torch.tensor(signs, dtype=torch.float64)
        other = {
            "q.0.weight": sign[:, None] * b["q.0.weight"][rows],
            "q.0.bias": sign * b["q.0.bias"][rows],
            "q.1.weight": b["q.1.weight"][:, rows] * sign,
            "q.1.bias": b["q.1.bias"],
        }
        distances.append(math.sqrt(sum(((other[n] - a[n]) ** 2).sum().item() for n in a)))
    found = align(architecture, a, b, ["q"])
    assert found.distance_after == pytest.approx(min(distances), rel=1e-12)
    assert found.distance_before == pytest.approx(
        math.sqrt(sum(((b[n] - a[n]) ** 2).sum().item() for n in a)), rel=1e-12
    )


def test_units_that_moved_are_counted():
    a = random_agent(SIMPLE_MAZE, 0)
    b = {name: p.clone() for name, p in a.items()}
    # One unit changes its sign, two of another layer change places.
    for name, index in (("encoder.2.weight", 7), ("encoder.2.bias", 7)):
        b[name][index] *= -1
    b["encoder.3.weight"][:, 7] *= -1
    swap = [1, 0, *range(2, 50)]
    b["encoder.3.weight"], b["encoder.3.bias"] = (
        b["encoder.3.weight"][swap],
        b["encoder.3.bias"][swap],
    )
    b["encoder.4.weight"] = b["encoder.4.weight"][:, swap]
    found = align(SIMPLE_MAZE, a, b)
    assert (found.moved, found.units) == (3, 200 + 100 + 50 + 10)
    assert found.distance_after == 0


def test_a_network_is_aligned_to_itself_already():
    a = random_agent(SIMPLE_MAZE, 0)
    found = align(SIMPLE_MAZE, a, a, ALL)
    assert (found.moved, found.distance_before, found.distance_after) == (0, 0, 0)


def test_other_components_and_the_given_agents_stay():
    a = random_agent(SIMPLE_MAZE, 0, torch.float32)
    b = shuffled(a, chains_of(SIMPLE_MAZE, ALL), 1)
    before = {name: p.clone() for name, p in b.items()}
    found = align(SIMPLE_MAZE, a, b)
    for name, p in found.parameters.items():
        assert torch.equal(b[name], before[name])
        assert p.dtype == torch.float32
        assert torch.equal(p, (a if name.startswith("encoder.") else b)[name]), name


@pytest.mark.parametrize("architecture", [LABYRINTH, SIMPLE_MAZE_PIXELS])
def test_convolutions_are_refused(architecture):
    a = random_agent(architecture, 0)
    with pytest.raises(InputError, match="only networks of dense layers can be aligned, found Con"):
        align(architecture, a, a)
