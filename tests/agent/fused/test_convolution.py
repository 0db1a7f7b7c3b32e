import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH, Conv, Dense, Flatten, MaxPool
from crar_diag.agent.fused.convolution import backward, forward, numbers, patches
from crar_diag.agent.fused.memory import image_memory

SAMPLES = 3


def component(name):
    """Return a labyrinth head's layers, its parameters here and there, and an input."""
    architecture, rng = LABYRINTH, np.random.default_rng(0)
    drawn = networks.initialise(architecture, rng, torch.float64)
    parameters = {k: p + 0.1 * torch.rand(p.shape).double() for k, p in drawn.items()}
    memory = image_memory(architecture, "sequential", False)
    position = ("encoder", "transition", "reward", "discount", "q").index(name)
    flat = torch.cat([p.flatten() for p in parameters.values()]).numpy()[memory.orders.pick]
    starts = memory.layout.places.starts
    theta = flat[starts[position] : starts[position + 1]].copy()
    channels, edge = (1, 48) if name == "encoder" else (3 if name == "q" else 7, 8)
    x = torch.from_numpy(rng.standard_normal((SAMPLES, channels, edge, edge)))
    own = {k: p for k, p in parameters.items() if k.startswith(f"{name}.")}
    return memory.layout.layers[position], theta, own, x


def channels_last(x):
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).detach().numpy().ravel()


@pytest.mark.parametrize("name", ["encoder", "transition", "reward", "q"])
def test_forward_and_backward_equal_torch(name):
    layers, theta, parameters, x = component(name)
    parameters = {k: p.requires_grad_() for k, p in parameters.items()}
    x.requires_grad_()
    wanted = networks.apply(LABYRINTH, name, parameters, x)
    push = torch.from_numpy(np.random.default_rng(1).standard_normal(wanted.shape))
    gradients = torch.autograd.grad((wanted * push).sum(), [x, *parameters.values()])

    a = np.zeros(numbers(layers) * SAMPLES)
    a[: x.numel()] = channels_last(x)
    rows = np.zeros(patches(layers, SAMPLES))
    forward(theta, layers, SAMPLES, a, rows)
    np.testing.assert_allclose(a[-wanted.numel() :], channels_last(wanted), atol=1e-12)

    da, grad = np.full_like(a, np.nan), np.full_like(theta, np.nan)
    da[-wanted.numel() :] = channels_last(push)
    backward(theta, layers, SAMPLES, a, da, grad, rows, rows.copy(), True, True)
    np.testing.assert_allclose(da[: x.numel()], channels_last(gradients[0]), atol=1e-11)
    by_weights = [
        (g.permute(2, 3, 1, 0) if g.dim() == 4 else g.T if g.dim() == 2 else g).numpy().ravel()
        for g in gradients[1:]
    ]
    np.testing.assert_allclose(grad, np.concatenate(by_weights), atol=1e-10)

    frozen, untouched = np.full_like(a, np.nan), np.full_like(theta, np.nan)
    frozen[-wanted.numel() :] = channels_last(push)
    backward(theta, layers, SAMPLES, a, frozen, untouched, rows, rows.copy(), False, True)
    np.testing.assert_array_equal(frozen[: x.numel()], da[: x.numel()])
    assert np.isnan(untouched).all()


def test_the_kinds_of_layers_that_exist_are_all_covered():
    kinds = {type(layer) for c in ("encoder", "reward") for layer in LABYRINTH.layers(c)}
    assert kinds == {Conv, Dense, Flatten, MaxPool}


def test_a_maximum_that_occurs_twice_passes_its_derivative_once():
    layers = np.array([[1, 1, 1, 2, 0, 2, 1, 0]])
    a = np.array([1.0, 5.0, 5.0, 2.0, 0.0])
    forward(np.empty(0), layers, 1, a, np.empty(0))
    assert a[4] == 5
    da = np.array([9.0, 9.0, 9.0, 9.0, 3.0])
    backward(np.empty(0), layers, 1, a, da, np.empty(0), np.empty(0), np.empty(0), True, True)
    assert da[:4].tolist() == [0, 3, 0, 0]


@pytest.mark.parametrize("place", range(4))
def test_a_lost_number_is_not_hidden_by_a_maximum(place):
    a = np.array([1.0, 5.0, 3.0, 2.0, 0.0])
    a[place] = np.nan
    forward(np.empty(0), np.array([[1, 1, 1, 2, 0, 2, 1, 0]]), 1, a, np.empty(0))
    assert np.isnan(a[4])
