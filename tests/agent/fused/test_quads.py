from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH
from crar_diag.agent.fused import quads
from crar_diag.agent.fused.memory import find_quads, image_memory
from tests.agent.fused.test_memory import labyrinth

PICTURES = 5
TRUNK = LABYRINTH.encoder[:5]


def trunk_here_and_there(domain, saturation=1.0):
    """Return a trunk's parameters, those of the kernel, data, pictures and their quads."""
    rng = np.random.default_rng(0)
    drawn = networks.initialise(LABYRINTH, rng, torch.float64)
    parameters = {
        name: saturation * p + 0.1 * torch.from_numpy(rng.standard_normal(p.shape))
        for name, p in drawn.items()
    }
    memory = image_memory(LABYRINTH, "sequential", True)
    flat = torch.cat([p.flatten() for p in parameters.values()]).numpy()[memory.orders.pick]
    trunk = memory.layout.trunk
    own = {n: p for n, p in parameters.items() if n.rpartition(".")[0][8:] in ("0", "1", "3")}
    own = {n: p.requires_grad_() for n, p in own.items() if n.startswith("encoder.")}
    data = labyrinth(domain)
    return own, flat[: trunk.parameters].copy(), trunk, data


def run_torch(parameters, pictures):
    return networks.encode(replace(LABYRINTH, encoder=tuple(TRUNK)), parameters, pictures)


@pytest.mark.parametrize("domain", ["normal", "inverse", "swapped"])
@pytest.mark.parametrize("saturation", [1.0, 30.0])
def test_the_trunk_and_its_gradient_equal_torch(domain, saturation):
    parameters, theta, trunk, data = trunk_here_and_there(domain, saturation)
    picks = np.arange(0, 3 * PICTURES, 3)
    wanted = run_torch(parameters, data.observe(torch.from_numpy(picks)))
    push = torch.from_numpy(np.random.default_rng(1).standard_normal(wanted.shape))
    gradients = torch.autograd.grad((wanted * push).sum(), list(parameters.values()))

    table = find_quads(data)
    work = quads.trunk_workspace(theta, trunk, table, PICTURES)
    out = np.full(wanted.numel(), np.nan)
    quads.run(theta, trunk, table, picks, PICTURES, out, work)
    here = wanted.permute(0, 2, 3, 1).detach().numpy().ravel()
    np.testing.assert_allclose(out, here, atol=1e-12)

    grad = np.full_like(theta, np.nan)
    dout = push.permute(0, 2, 3, 1).numpy().ravel().copy()
    quads.gradient(theta, trunk, table, PICTURES, out, dout, grad, work)
    by_weights = [(g.permute(2, 3, 1, 0) if g.dim() == 4 else g).ravel() for g in gradients]
    np.testing.assert_allclose(grad, torch.cat(by_weights).numpy(), atol=1e-9)


def test_rows_without_derivative_are_left_out_rightly():
    parameters, theta, trunk, data = trunk_here_and_there("normal")
    picks = np.arange(PICTURES)
    wanted = run_torch(parameters, data.observe(torch.from_numpy(picks)))
    push = torch.zeros(wanted.shape, dtype=torch.float64)
    push[1, :, 3, 4] = push[4, 2, 7, 7] = 1.0
    gradients = torch.autograd.grad((wanted * push).sum(), list(parameters.values()))
    table = find_quads(data)
    work = quads.trunk_workspace(theta, trunk, table, PICTURES)
    out, grad = np.empty(wanted.numel()), np.empty_like(theta)
    quads.run(theta, trunk, table, picks, PICTURES, out, work)
    dout = push.permute(0, 2, 3, 1).numpy().ravel().copy()
    quads.gradient(theta, trunk, table, PICTURES, out, dout, grad, work)
    by_weights = [(g.permute(2, 3, 1, 0) if g.dim() == 4 else g).ravel() for g in gradients]
    np.testing.assert_allclose(grad, torch.cat(by_weights).numpy(), atol=1e-11)


@pytest.mark.parametrize("position", range(9))
def test_a_lost_number_is_not_hidden_by_a_maximum(position):
    rng = np.random.default_rng(2)
    parts = rng.standard_normal((2 * 25, 1))
    parts[25:] = 0  # around the picture
    parts[(position // 3 + 1) * 5 + position % 3 + 1] = np.nan
    around = np.zeros((quads.GRID + 2, quads.GRID + 2), np.int64)
    quads._place_tiles(np.zeros(quads.GRID**2, np.int64), 1, around)
    out, taken = np.zeros((quads.GRID**2, 1)), np.zeros((quads.GRID**2, 1), np.int32)
    quads._maxima(parts, around, np.zeros(1), out, taken)
    assert np.isnan(out).all()
