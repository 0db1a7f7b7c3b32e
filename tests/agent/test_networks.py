"""The forward pass against an independent twin in plain NumPy, and its symmetries."""

import math
from concurrent.futures import ThreadPoolExecutor

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


def arrays(parameters):
    return {name: p.numpy() for name, p in parameters.items()}


def twin_conv(x, weight, bias):
    """Cross-correlate by loops, x `[channels, h, w]`; even kernels reach down and right."""
    outputs, inputs, size, _ = weight.shape
    before = (size - 1) // 2
    _, height, width = x.shape
    result = np.zeros((outputs, height, width))
    for o in range(outputs):
        for row in range(height):
            for column in range(width):
                total = bias[o]
                for c in range(inputs):
                    for i in range(size):
                        for j in range(size):
                            r, s = row + i - before, column + j - before
                            if 0 <= r < height and 0 <= s < width:
                                total += weight[o, c, i, j] * x[c, r, s]
                result[o, row, column] = total
    return result


def twin_pool(x, size):
    channels, height, width = x.shape
    result = np.zeros((channels, height // size, width // size))
    for c, row, column in np.ndindex(*result.shape):
        square = x[c, row * size : (row + 1) * size, column * size : (column + 1) * size]
        result[c, row, column] = max(square.flat)
    return result


def twin_flatten(x):
    if x.ndim == 1:
        return x
    channels, height, width = x.shape
    return np.array(
        [x[c, r, s] for r in range(height) for s in range(width) for c in range(channels)]
    )


def twin_apply(architecture, component, parameters, x):
    """One component on one input."""
    for position, layer in enumerate(architecture.layers(component)):
        weight = parameters.get(f"{component}.{position}.weight")
        bias = parameters.get(f"{component}.{position}.bias")
        if isinstance(layer, Dense):
            x = np.array([sum(w * v for w, v in zip(row, x, strict=True)) for row in weight]) + bias
        elif isinstance(layer, Conv):
            x = twin_conv(x, weight, bias)
        elif isinstance(layer, MaxPool):
            x = twin_pool(x, layer.size)
        else:
            x = twin_flatten(x)
        if getattr(layer, "tanh", False):
            x = np.tanh(x)
    return x


def random_agent(architecture, seed, biases=0.3):
    """An agent in float64 whose biases are not zero, so that they are tested too."""
    rng = np.random.default_rng(seed)
    parameters = networks.initialise(architecture, rng, torch.float64)
    for name, p in parameters.items():
        if name.endswith("bias"):
            parameters[name] = torch.from_numpy(rng.normal(0, biases, p.shape))
    return parameters


def with_encoder(*layers, observation_shape):
    """An architecture of which only the encoder matters."""
    return Architecture("test", observation_shape, (1,), 4, layers, (), (), (), ())


# The forward pass


def test_dense_components_match_the_twin():
    parameters = random_agent(SIMPLE_MAZE, 0)
    rng = np.random.default_rng(1)
    pictures, actions = rng.uniform(-1, 1, (5, 1, 8, 8)), np.array([0, 3, 1, 2, 3])
    states = networks.encode(SIMPLE_MAZE, parameters, torch.from_numpy(pictures))
    chosen = torch.from_numpy(actions)
    moved = networks.predict_state(SIMPLE_MAZE, parameters, states, chosen)
    rewards = networks.predict_reward(SIMPLE_MAZE, parameters, states, chosen)
    discounts = networks.predict_discount(SIMPLE_MAZE, parameters, states, chosen)
    values = networks.q_values(SIMPLE_MAZE, parameters, states)
    assert rewards.shape == discounts.shape == (5,)
    twin = arrays(parameters)
    for i in range(5):
        x = twin_apply(SIMPLE_MAZE, "encoder", twin, pictures[i])
        joined = np.concatenate([x, np.eye(4)[actions[i]]])
        step = twin_apply(SIMPLE_MAZE, "transition", twin, joined)
        np.testing.assert_allclose(states[i], x, atol=1e-12)
        np.testing.assert_allclose(moved[i], x + step, atol=1e-12)
        reward = twin_apply(SIMPLE_MAZE, "reward", twin, joined)[0]
        np.testing.assert_allclose(rewards[i], reward, atol=1e-12)
        discount = twin_apply(SIMPLE_MAZE, "discount", twin, joined)[0]
        np.testing.assert_allclose(discounts[i], discount, atol=1e-12)
        np.testing.assert_allclose(values[i], twin_apply(SIMPLE_MAZE, "q", twin, x), atol=1e-12)


def test_convolutional_heads_match_the_twin():
    parameters = random_agent(LABYRINTH, 2)
    rng = np.random.default_rng(3)
    x, action = rng.uniform(-1, 1, (3, 8, 8)), 2
    state, chosen = torch.from_numpy(x)[None], torch.tensor([action])
    twin = arrays(parameters)
    planes = np.zeros((4, 8, 8))
    planes[action] = 1
    joined = np.concatenate([planes, x])
    reward = networks.predict_reward(LABYRINTH, parameters, state, chosen)[0]
    np.testing.assert_allclose(reward, twin_apply(LABYRINTH, "reward", twin, joined)[0], atol=1e-12)
    values = networks.q_values(LABYRINTH, parameters, state)[0]
    np.testing.assert_allclose(values, twin_apply(LABYRINTH, "q", twin, x), atol=1e-12)


def test_image_transition_adds_its_output_to_the_state():
    parameters = random_agent(LABYRINTH, 4)
    x = np.random.default_rng(5).uniform(-1, 1, (3, 8, 8))
    joined = np.concatenate([np.zeros((3, 8, 8)), np.ones((1, 8, 8)), x])
    # The middle layers are wide; a coarse check of the whole net would take long in plain loops,
    # so the twin runs torch's result of all but the last layer through its own last layer.
    parts = LABYRINTH.transition
    head = Architecture("head", (7, 8, 8), (1,), 4, (), parts[:-1], (), (), ())
    hidden = networks.apply(head, "transition", parameters, torch.from_numpy(joined)[None])[0]
    last = twin_conv(
        hidden.numpy(),
        parameters["transition.5.weight"].numpy(),
        parameters["transition.5.bias"].numpy(),
    )
    moved = networks.predict_state(
        LABYRINTH, parameters, torch.from_numpy(x)[None], torch.tensor([3])
    )
    np.testing.assert_allclose(moved[0], x + last, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_same_convolution_matches_loops(kernel):
    architecture = with_encoder(Conv(2, 3, kernel), observation_shape=(2, 5, 4))
    parameters = random_agent(architecture, kernel)
    x = np.random.default_rng(9).normal(size=(2, 2, 5, 4))
    result = networks.encode(architecture, parameters, torch.from_numpy(x))
    twin = arrays(parameters)
    for i in range(2):
        expected = twin_apply(architecture, "encoder", twin, x[i])
        np.testing.assert_allclose(result[i], expected, atol=1e-13)


def test_even_kernel_pads_bottom_and_right():
    architecture = with_encoder(Conv(1, 1, 2, tanh=False), observation_shape=(1, 3, 3))
    # Only the bottom right weight: the output is the input moved up and left by one.
    kernel = torch.tensor([[[[0.0, 0.0], [0.0, 1.0]]]])
    parameters = {"encoder.0.weight": kernel, "encoder.0.bias": torch.zeros(1)}
    x = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    expected = torch.tensor([[5.0, 6.0, 0.0], [8.0, 9.0, 0.0], [0.0, 0.0, 0.0]])
    assert torch.equal(networks.encode(architecture, parameters, x)[0, 0], expected)


@pytest.mark.parametrize("size", [2, 3])
def test_max_pool_matches_loops(size):
    architecture = with_encoder(MaxPool(size), observation_shape=(2, 6, 6))
    x = np.random.default_rng(10).normal(size=(3, 2, 6, 6))
    result = networks.encode(architecture, {}, torch.from_numpy(x))
    for i in range(3):
        np.testing.assert_array_equal(result[i], twin_pool(x[i], size))


def test_flatten_is_channels_last():
    architecture = with_encoder(Flatten(), observation_shape=(3, 2, 4))
    x = np.random.default_rng(11).normal(size=(2, 3, 2, 4))
    result = networks.encode(architecture, {}, torch.from_numpy(x))
    for i in range(2):
        np.testing.assert_array_equal(result[i], twin_flatten(x[i]))


def test_encoder_of_the_labyrinth_makes_three_channels_a_tile():
    parameters = random_agent(LABYRINTH, 12)
    pictures = torch.rand(2, 1, 48, 48, dtype=torch.float64, generator=torch.Generator())
    assert networks.encode(LABYRINTH, parameters, pictures).shape == (2, 3, 8, 8)
    # Tile (r, c) is seen by the position (r, c), and by its upper and left neighbours through the
    # kernels' reach, but by nothing far from it.
    changed = pictures.clone()
    changed[:, :, 24:30, 24:30] += 1.0
    difference = networks.encode(LABYRINTH, parameters, changed) - networks.encode(
        LABYRINTH, parameters, pictures
    )
    touched = difference.abs().amax(dim=(0, 1)) > 0
    assert touched[4, 4]
    outside = torch.ones(8, 8, dtype=torch.bool)
    outside[3:6, 3:6] = False
    assert not touched[outside].any()


# Joining state and action


def test_vector_state_stands_before_the_action():
    states = torch.tensor([[0.25, -0.5], [1.0, 2.0]])
    joined = networks.join(SIMPLE_MAZE, states, torch.tensor([2, 0]))
    expected = torch.tensor([[0.25, -0.5, 0.0, 0.0, 1.0, 0.0], [1.0, 2.0, 1.0, 0.0, 0.0, 0.0]])
    assert torch.equal(joined, expected)


def test_action_planes_stand_before_the_image():
    states = torch.randn(2, 3, 8, 8, generator=torch.Generator())
    joined = networks.join(LABYRINTH, states, torch.tensor([1, 3]))
    assert joined.shape == (2, 7, 8, 8)
    assert torch.equal(joined[:, 4:], states)
    for row, action in enumerate([1, 3]):
        for plane in range(4):
            assert (joined[row, plane] == float(plane == action)).all()


# Initialisation


@pytest.mark.parametrize("architecture", [SIMPLE_MAZE, LABYRINTH], ids=lambda a: a.name)
def test_weights_are_glorot_uniform_and_biases_zero(architecture):
    parameters = networks.initialise(architecture, np.random.default_rng(0), torch.float64)
    assert {name: tuple(p.shape) for name, p in parameters.items()} == architecture.shapes()
    for name, p in parameters.items():
        if name.endswith("bias"):
            assert (p == 0).all()
            continue
        field = math.prod(p.shape[2:])
        limit = math.sqrt(6 / (field * p.shape[1] + field * p.shape[0]))
        assert p.abs().max() <= limit
        if p.numel() >= 400:
            # The variance of U[-l, l] is l^2 / 3; its estimate from n draws has the relative
            # standard deviation sqrt(4 / (5 n)).
            n = p.numel()
            tolerance = 5 * math.sqrt(0.8 / n)
            assert p.square().mean().item() == pytest.approx(limit**2 / 3, rel=tolerance)
            assert p.abs().max() > 0.97 * limit


def test_same_generator_gives_the_same_agent():
    first = networks.initialise(SIMPLE_MAZE, np.random.default_rng(7))
    second = networks.initialise(SIMPLE_MAZE, np.random.default_rng(7))
    other = networks.initialise(SIMPLE_MAZE, np.random.default_rng(8))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["encoder.1.weight"], other["encoder.1.weight"])


def test_single_precision_is_the_rounded_double_precision_draw():
    single = networks.initialise(LABYRINTH, np.random.default_rng(3))
    double = networks.initialise(LABYRINTH, np.random.default_rng(3), torch.float64)
    assert all(torch.equal(single[name], double[name].float()) for name in single)
    assert all(p.dtype == torch.float32 for p in single.values())


# Symmetries


def test_tanh_mlp_without_biases_is_odd():
    parameters = networks.initialise(SIMPLE_MAZE, np.random.default_rng(0), torch.float64)
    pictures = torch.from_numpy(np.random.default_rng(1).uniform(-1, 1, (6, 1, 8, 8)))
    states = networks.encode(SIMPLE_MAZE, parameters, pictures)
    mirrored = networks.encode(SIMPLE_MAZE, parameters, -pictures)
    torch.testing.assert_close(mirrored, -states, atol=1e-14, rtol=0)


def test_pooled_encoder_is_not_odd_but_the_unpooled_one_is():
    rng = np.random.default_rng(2)
    parameters = networks.initialise(LABYRINTH, rng, torch.float64)
    pictures = torch.from_numpy(rng.uniform(-1, 1, (2, 1, 48, 48)))
    states = networks.encode(LABYRINTH, parameters, pictures)
    mirrored = networks.encode(LABYRINTH, parameters, -pictures)
    assert (mirrored + states).abs().max() > 0.1
    small = networks.initialise(LABYRINTH_SYMBOLIC, rng, torch.float64)
    tiles = torch.from_numpy(rng.uniform(-1, 1, (2, 1, 8, 8)))
    states = networks.encode(LABYRINTH_SYMBOLIC, small, tiles)
    mirrored = networks.encode(LABYRINTH_SYMBOLIC, small, -tiles)
    torch.testing.assert_close(mirrored, -states, atol=1e-14, rtol=0)


@pytest.mark.parametrize("architecture", [SIMPLE_MAZE, LABYRINTH], ids=lambda a: a.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_negated_first_kernel_solves_the_inverse_domain_exactly(architecture, dtype):
    parameters = {name: p.to(dtype) for name, p in random_agent(architecture, 4).items()}
    rng = np.random.default_rng(5)
    pictures = torch.from_numpy(rng.uniform(-1, 1, (4, *architecture.observation_shape))).to(dtype)
    first = next(name for name in parameters if name.startswith("encoder") and "weight" in name)
    oracle = {**parameters, first: -parameters[first]}
    base = networks.encode(architecture, parameters, pictures)
    assert torch.equal(networks.encode(architecture, oracle, -pictures), base)


# Values without derivatives


@pytest.mark.parametrize("architecture", [SIMPLE_MAZE, LABYRINTH], ids=lambda a: a.name)
def test_values_alone_are_those_with_derivatives(architecture):
    agent = random_agent(architecture, 3)
    pictures = torch.from_numpy(
        np.random.default_rng(6).uniform(-1, 1, (3, *architecture.observation_shape))
    )
    kept = pictures.clone()
    expected = networks.encode(architecture, agent, pictures)
    with networks.values_only():
        found = networks.encode(architecture, agent, pictures)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert torch.equal(pictures, kept)


def test_values_alone_take_no_derivative_and_no_vmap():
    agent = {n: p.requires_grad_() for n, p in random_agent(SIMPLE_MAZE, 3).items()}
    pictures = torch.zeros(2, *SIMPLE_MAZE.observation_shape, dtype=torch.float64)

    def encode(x):
        return networks.encode(SIMPLE_MAZE, agent, x)

    with networks.values_only():
        assert not encode(pictures).requires_grad
        with torch.enable_grad(), pytest.raises(RuntimeError, match="requires grad"):
            encode(pictures)
        with pytest.raises(RuntimeError):
            torch.func.vmap(encode)(pictures[None])
        with pytest.raises(RuntimeError):
            torch.func.jvp(encode, (pictures,), (pictures,))
    assert encode(pictures).requires_grad


def test_values_alone_are_this_threads():
    with networks.values_only(), ThreadPoolExecutor(1) as pool:
        agent = {n: p.requires_grad_() for n, p in random_agent(SIMPLE_MAZE, 3).items()}
        pictures = torch.zeros(2, *SIMPLE_MAZE.observation_shape, dtype=torch.float64)
        found = pool.submit(networks.encode, SIMPLE_MAZE, agent, pictures).result()
    assert found.requires_grad


# Populations


def test_population_and_members_are_inverse():
    agents = [networks.initialise(SIMPLE_MAZE, np.random.default_rng(seed)) for seed in range(3)]
    population = networks.stack(agents)
    for index, agent in enumerate(agents):
        again = networks.member(population, index)
        assert again.keys() == agent.keys()
        assert all(torch.equal(again[name], agent[name]) for name in agent)
    networks.member(population, 0)["q.0.bias"].fill_(9.0)
    assert (population["q.0.bias"] == 0).all()


@pytest.mark.parametrize("architecture", [SIMPLE_MAZE, LABYRINTH], ids=lambda a: a.name)
def test_vmap_over_a_population_equals_one_agent_after_another(architecture):
    agents = [random_agent(architecture, seed) for seed in range(3)]
    rng = np.random.default_rng(6)
    pictures = torch.from_numpy(rng.uniform(-1, 1, (3, 2, *architecture.observation_shape)))
    lifted = torch.func.vmap(lambda p, o: networks.encode(architecture, p, o))(
        networks.stack(agents), pictures
    )
    for index, agent in enumerate(agents):
        alone = networks.encode(architecture, agent, pictures[index])
        torch.testing.assert_close(lifted[index], alone, atol=1e-12, rtol=0)


def test_components_partition_the_parameters():
    parameters = networks.initialise(LABYRINTH, np.random.default_rng(0))
    parts = [networks.of_component(parameters, component) for component in networks.COMPONENTS]
    assert sum(len(part) for part in parts) == len(parameters)
    assert networks.component_of("transition.3.weight") == "transition"
    both = networks.of_component(parameters, "encoder", "q")
    assert {networks.component_of(name) for name in both} == {"encoder", "q"}
