"""The smoothed volume loss against the exact one, its bound, and its derivatives."""

import math

import numpy as np
import pytest
import torch

from crar_diag.agent.loading import load_agent
from crar_diag.agent.losses import volume
from crar_diag.errors import InputError
from crar_diag.landscape.agents import agent_problem
from crar_diag.landscape.smoothing import smoothed_volume, smoothing_bound, with_smooth_volume
from crar_diag.landscape.vectors import doubled
from tests.landscape.shipped import CORRECT
from tests.runs import labyrinth_config, save_agent

TEMPERATURES = [1.0, 0.1, 0.01, 1e-3, 1e-5]


def states(dimensions, count=400, seed=0):
    """States all over the cube and outside it, on its faces, edges and corners too."""
    rng = np.random.default_rng(seed)
    inside = rng.uniform(-1.6, 1.6, (count, dimensions))
    faces = inside.copy()
    faces[:, 0] = rng.choice([-1.0, 1.0], count)
    corners = rng.choice([-1.0, 1.0], (count, dimensions))
    ties = np.abs(inside[:, :1]) * corners
    return torch.from_numpy(np.concatenate([inside, faces, corners, ties]))


def exact(x):
    return ((x * x).amax(1) - 1).clamp(0, 100)


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_it_exceeds_the_exact_loss_by_no_more_than_the_bound(dimensions, temperature):
    x = states(dimensions)
    excess = smoothed_volume(x, temperature) - exact(x)
    assert excess.min() >= -1e-15
    assert excess.max() <= smoothing_bound(dimensions, temperature) * (1 + 1e-9)


def test_the_bound_is_reached_at_a_corner_of_the_cube():
    corner = torch.ones(1, 3).double()
    found = smoothed_volume(corner, 0.01).item()
    # softplus(log 3) = log 4 there: half of what the bound log 6 puts together.
    assert found == pytest.approx(0.01 * math.log(4))
    assert found <= smoothing_bound(3, 0.01) == pytest.approx(0.01 * math.log(6))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_it_tends_to_the_exact_loss(dimensions):
    x = states(dimensions)
    gaps = [(smoothed_volume(x, t) - volume(x)).mean().item() for t in TEMPERATURES]
    assert gaps == sorted(gaps, reverse=True)
    assert 0 <= gaps[-1] < 1e-5
    apart = (x.abs().amax(1) - 1).abs() > 0.1
    alone = x[apart & ((x.abs().topk(2, 1).values.diff(dim=1)).abs().squeeze(1) > 0.1)]
    torch.testing.assert_close(smoothed_volume(alone, 1e-4), exact(alone), rtol=0, atol=1e-12)


def test_its_upper_end_is_that_of_the_exact_loss():
    far = torch.tensor([[3.0, 0.0], [11.0, 0.0], [50.0, 50.0]]).double()
    torch.testing.assert_close(
        smoothed_volume(far, 0.01), torch.tensor([8.0, 100.0, 100.0]).double()
    )


def test_images_have_the_maximum_over_channels_at_each_position():
    x = states(3, count=40).reshape(10, 16, 3).permute(0, 2, 1).reshape(10, 3, 4, 4)
    found = smoothed_volume(x, 0.01)
    # log(1 + exp(log(sum_j exp(x_j^2 / T)) - 1 / T)) of each of the 160 positions.
    sums = np.exp(x.numpy() ** 2 / 0.01 - 100).sum(1)
    np.testing.assert_allclose(found, 0.01 * np.log1p(sums).mean((1, 2)), rtol=1e-9)
    assert abs((found - volume(x)).mean()) <= smoothing_bound(3, 0.01)


def test_it_has_second_derivatives_on_the_kinks():
    for x in ([1.0, 0.2], [-1.0, 1.0], [0.7, 0.7], [0.0, 0.0]):
        point = torch.tensor(x).double()

        def value(p):
            return smoothed_volume(p[None], 0.05).sum()

        assert torch.autograd.gradgradcheck(value, point.clone().requires_grad_())
        assert torch.isfinite(torch.func.hessian(value)(point)).all()
    # Across a face, with x_1 = 1 alone: sigma'(0) (2 x)^2 / T + 2 sigma(0).
    alone = torch.func.hessian(lambda p: smoothed_volume(p[None], 0.05).sum())
    curvature = alone(torch.tensor([1.0, 0.0]).double())[0, 0].item()
    assert curvature == pytest.approx(0.25 * 4 / 0.05 + 2 * 0.5, rel=1e-6)


# In an agent's problem


def test_the_other_losses_stay_and_the_volume_loss_is_smoothed():
    agent = load_agent(CORRECT)
    parameters = doubled(agent.parameters)
    problem = agent_problem(agent, "inverse", dtype=torch.float64)
    smooth = with_smooth_volume(problem, 0.01)
    before, after = problem.values(parameters), smooth.values(parameters)
    assert list(after) == list(before)
    for name, value in before.items():
        if name != "volume":
            assert torch.equal(after[name], value)
    expected = smoothed_volume(problem.seen(parameters), 0.01).mean()
    assert after["volume"].item() == pytest.approx(expected.item(), rel=1e-14)
    assert 0 < after["volume"] - before["volume"] < smoothing_bound(2, 0.01)
    assert smooth.weights == problem.weights


def test_a_sample_of_labyrinths_keeps_its_terms(tmp_path):
    agent = load_agent(save_agent(tmp_path / "agent.safetensors", labyrinth_config("0:1", 10)))
    parameters = {name: 3 * p for name, p in doubled(agent.parameters).items()}
    problem = agent_problem(agent, "normal", dtype=torch.float64, transitions=5)
    smooth = with_smooth_volume(problem, 1e-6)
    seen = problem.seen(parameters)
    before, after = problem.losses(parameters, seen), smooth.losses(parameters, seen)
    assert before["volume"].max() > 0
    assert after["volume"].shape == before["volume"].shape == (5,)
    torch.testing.assert_close(after["volume"], before["volume"], rtol=0, atol=2e-6)


def test_no_temperature_is_the_exact_loss():
    problem = agent_problem(load_agent(CORRECT), "inverse")
    assert with_smooth_volume(problem, 0.0) is problem


@pytest.mark.parametrize("bad", [-0.01, math.nan, math.inf])
def test_other_temperatures_are_refused(bad):
    problem = agent_problem(load_agent(CORRECT), "inverse")
    with pytest.raises(InputError, match=f"a temperature of at least 0, found {bad}") as caught:
        with_smooth_volume(problem, bad)
    assert caught.value.arguments == ("smoothing",)
