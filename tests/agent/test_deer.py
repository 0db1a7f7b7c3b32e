"""DeeR's networks as checkpoints: nothing of them changes but the layout."""

import hashlib
import os

import joblib
import numpy as np
import pytest
import torch

from crar_diag.agent import checkpoint, networks, probes
from crar_diag.agent.architecture import (
    LABYRINTH,
    SIMPLE_MAZE,
    SIMPLE_MAZE_PIXELS,
    architecture_for,
)
from crar_diag.agent.assessment import settings_of
from crar_diag.agent.deer import IMPORTED, ORDER, from_keras, import_network, keras_shapes
from crar_diag.agent.loading import load_agent
from crar_diag.agent.presets import preset
from crar_diag.agent.probes import make_probe
from crar_diag.agent.streams import stream
from crar_diag.envs.observer import Observer
from crar_diag.errors import CrarDiagError, InputError
from tests.runs import BASES, HELD_OUT

ENVIRONMENTS = ["simple-maze", "labyrinth"]


def drawn(architecture, seed=3, dtype=torch.float32):
    """An agent all of whose biases are other than zero too."""
    agent = networks.initialise(architecture, stream(seed, "initialisation"), dtype)
    generator = torch.Generator().manual_seed(seed)
    return {
        name: p + 0.1 * torch.randn(p.shape, generator=generator).to(p) for name, p in agent.items()
    }


def keras_list(architecture, parameters):
    """Write an agent as DeeR does, number by number."""
    arrays = []
    for component in ("encoder", "q", "reward", "discount", "transition"):
        for name in architecture.shapes():
            if not name.startswith(component + "."):
                continue
            weight = parameters[name].numpy()
            if weight.ndim == 2:
                kernel = np.empty(weight.shape[::-1], weight.dtype)
                for o in range(weight.shape[0]):
                    for i in range(weight.shape[1]):
                        kernel[i, o] = weight[o, i]
            elif weight.ndim == 4:
                outputs, inputs, height, width = weight.shape
                kernel = np.empty((height, width, inputs, outputs), weight.dtype)
                for r in range(height):
                    for c in range(width):
                        for i in range(inputs):
                            for o in range(outputs):
                                kernel[r, c, i, o] = weight[o, i, r, c]
            else:
                kernel = weight.copy()
            arrays.append(kernel)
    return arrays


def keras_convolution(images, kernel, bias):
    """Keras' 'same' convolution of images `[batch, height, width, channels]`."""
    size = kernel.shape[0]
    before, after = (size - 1) // 2, size // 2
    padded = np.pad(images, ((0, 0), (before, after), (before, after), (0, 0)))
    height, width = images.shape[1:3]
    found = np.zeros((*images.shape[:3], kernel.shape[3]))
    for r in range(size):
        for c in range(size):
            found += padded[:, r : r + height, c : c + width] @ kernel[r, c]
    return found + bias


def keras_pool(images, size):
    batch, height, width, channels = images.shape
    tiles = images.reshape(batch, height // size, size, width // size, size, channels)
    return tiles.max((2, 4))


def keras_spatial_head(images, arrays):
    """The labyrinth's Q, reward and discount networks as Keras runs them on what DeeR stores."""
    x = images
    for layer in range(4):
        x = np.tanh(keras_convolution(x, arrays[2 * layer], arrays[2 * layer + 1]))
        x = keras_pool(x, 2) if layer == 1 else x
    return keras_dense(x.reshape(len(x), -1), arrays[8:])


def keras_dense(x, arrays):
    for layer in range(len(arrays) // 2):
        x = x @ arrays[2 * layer] + arrays[2 * layer + 1]
        x = x if layer == len(arrays) // 2 - 1 else np.tanh(x)
    return x


def dumped(path, environment="simple-maze", parameters=None, **options):
    architecture = architecture_for(environment, preset(environment).observation)
    arrays = keras_list(architecture, parameters or drawn(architecture))
    joblib.dump(arrays, path, **options)
    return path


def imported(tmp_path, arrays, environment="simple-maze", **options):
    joblib.dump(arrays, tmp_path / "network.joblib")
    output = tmp_path / "network.safetensors"
    made = import_network(
        tmp_path / "network.joblib", output, environment=environment, domain="normal", **options
    )
    return output, made


def refusal(tmp_path, arrays, environment="simple-maze", **options):
    with pytest.raises(InputError) as caught:
        imported(tmp_path, arrays, environment, **options)
    assert not (tmp_path / "network.safetensors").exists()
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence.removeprefix(f"file '{tmp_path / 'network.joblib'}' does not fit ")


def read(agent, domain):
    """Losses of an agent, exact or on held-out mazes."""
    metadata = agent.metadata
    observer = Observer(metadata.environment, metadata.observation, domain)
    population = {name: p.unsqueeze(0) for name, p in agent.parameters.items()}
    probe = make_probe(metadata.environment, agent.architecture, observer, settings_of(agent))
    return probe.read(population).losses


@pytest.fixture
def maze_arrays():
    return keras_list(SIMPLE_MAZE, drawn(SIMPLE_MAZE))


# The same network


@pytest.mark.parametrize("compress", [0, ("gzip", 3)])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_parameters_come_back_bit_for_bit(tmp_path, environment, protocol, compress):
    architecture = architecture_for(environment, preset(environment).observation)
    parameters = drawn(architecture)
    source = dumped(tmp_path / "x", environment, parameters, protocol=protocol, compress=compress)
    output = tmp_path / "x.safetensors"
    import_network(source, output, environment=environment, domain="inverse")
    found = load_agent(output)
    assert found.parameters.keys() == parameters.keys()
    for name, p in parameters.items():
        assert torch.equal(found.parameters[name], p), name


def test_a_shipped_agent_has_the_same_exact_losses(tmp_path):
    base = load_agent(BASES / "base-seed1.safetensors")
    output, _ = imported(tmp_path, keras_list(base.architecture, base.parameters))
    for domain in ("normal", "inverse"):
        assert read(load_agent(output), domain).tolist() == read(base, domain).tolist()


def test_a_labyrinth_agent_has_the_same_losses(tmp_path, monkeypatch):
    monkeypatch.setattr(probes, "HELD_OUT_TRANSITIONS", HELD_OUT)
    parameters = drawn(LABYRINTH)
    output, made = imported(tmp_path, keras_list(LABYRINTH, parameters), "labyrinth")
    ours = tmp_path / "ours.safetensors"
    checkpoint.save(checkpoint.Checkpoint(parameters, made.metadata), ours)
    assert read(load_agent(output), "normal").tolist() == read(load_agent(ours), "normal").tolist()


def test_the_simple_maze_network_is_what_keras_computes(tmp_path):
    arrays = keras_list(SIMPLE_MAZE, drawn(SIMPLE_MAZE, dtype=torch.float64))
    parameters = from_keras(arrays, SIMPLE_MAZE, "x")
    pictures = np.random.default_rng(0).normal(size=(5, 1, 8, 8))
    state = keras_dense(pictures.reshape(5, 64), arrays[:10])
    ours = networks.encode(SIMPLE_MAZE, parameters, torch.from_numpy(pictures))
    np.testing.assert_allclose(ours, state, atol=1e-13)
    actions = np.array([0, 1, 2, 3, 1])
    joined = np.concatenate([state, np.eye(4)[actions]], axis=1)
    given = SIMPLE_MAZE, parameters, ours
    np.testing.assert_allclose(
        networks.q_values(*given), keras_dense(state, arrays[10:18]), atol=1e-13
    )
    choices = torch.from_numpy(actions)
    for predict, expected in (
        (networks.predict_reward, keras_dense(joined, arrays[18:26])[:, 0]),
        (networks.predict_discount, keras_dense(joined, arrays[26:34])[:, 0]),
        (networks.predict_state, state + keras_dense(joined, arrays[34:44])),
    ):
        np.testing.assert_allclose(predict(*given, choices), expected, atol=1e-13)


def test_the_labyrinth_network_is_what_keras_computes():
    arrays = keras_list(LABYRINTH, drawn(LABYRINTH, dtype=torch.float64))
    parameters = from_keras(arrays, LABYRINTH, "x")
    pictures = np.random.default_rng(0).normal(size=(2, 48, 48, 1))
    x = np.tanh(keras_convolution(pictures, *arrays[:2]))
    x = keras_pool(np.tanh(keras_convolution(x, *arrays[2:4])), 2)
    x = keras_pool(np.tanh(keras_convolution(x, *arrays[4:6])), 3)
    state = keras_convolution(x, *arrays[6:8])
    ours = networks.encode(LABYRINTH, parameters, torch.from_numpy(pictures.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(ours.permute(0, 2, 3, 1), state, atol=1e-13)
    actions = np.array([2, 3])
    planes = np.broadcast_to(np.eye(4)[actions][:, None, None], (2, 8, 8, 4))
    joined = np.concatenate([planes, state], axis=3)
    given = LABYRINTH, parameters, ours
    np.testing.assert_allclose(
        networks.q_values(*given), keras_spatial_head(state, arrays[8:24]), atol=1e-13
    )
    choices = torch.from_numpy(actions)
    for predict, own in (
        (networks.predict_reward, arrays[24:40]),
        (networks.predict_discount, arrays[40:56]),
    ):
        expected = keras_spatial_head(joined, own)[:, 0]
        np.testing.assert_allclose(predict(*given, choices), expected, atol=1e-13)
    change = joined
    for layer in range(6):
        change = keras_convolution(change, *arrays[56 + 2 * layer : 58 + 2 * layer])
        change = change if layer == 5 else np.tanh(change)
    following = networks.predict_state(*given, choices).permute(0, 2, 3, 1)
    np.testing.assert_allclose(following, state + change, atol=1e-12)


def test_shapes_and_numbers_of_the_published_networks():
    maze, labyrinth = (list(keras_shapes(a).values()) for a in (SIMPLE_MAZE, LABYRINTH))
    assert maze[:4] == [(64, 200), (200,), (200, 100), (100,)]
    assert maze[10:12] == [(2, 20), (20,)]  # Q
    assert maze[18:20] == maze[26:28] == maze[34:36] == [(6, 10), (10,)]
    assert maze[-2:] == [(10, 2), (2,)]
    assert labyrinth[:3] == [(2, 2, 1, 8), (8,), (2, 2, 8, 16)]
    assert labyrinth[8] == (2, 2, 3, 16)
    assert labyrinth[16] == (64, 200)
    assert labyrinth[24] == labyrinth[40] == (2, 2, 7, 16)
    assert labyrinth[56] == (1, 1, 7, 16)
    assert sum(int(np.prod(s)) for s in maze) == 45_880
    assert sum(int(np.prod(s)) for s in labyrinth) == 128_602
    assert ORDER == ("encoder", "q", "reward", "discount", "transition")


# What the file says of itself


def test_metadata_says_where_it_is_from(tmp_path, maze_arrays):
    output, made = imported(tmp_path, maze_arrays, seed=12, updates=80_000)
    metadata = load_agent(output).metadata
    assert metadata == made.metadata
    assert (metadata.environment, metadata.observation) == ("simple-maze", "symbolic")
    assert (metadata.domain, metadata.seed, metadata.updates) == ("normal", 12, 80_000)
    assert metadata.architecture == SIMPLE_MAZE.spec()
    configuration = dict(metadata.configuration)
    data = (tmp_path / "network.joblib").read_bytes()
    assert configuration.pop(IMPORTED) == {
        "format": "DeeR",
        "file": "network.joblib",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    expected = preset("simple-maze").model_dump(mode="json") | {"seeds": [12]}
    assert configuration == expected


@pytest.mark.parametrize(
    ("environment", "pairs"), [("simple-maze", 0.2), ("labyrinth", 1.0)], ids=ENVIRONMENTS
)
def test_losses_have_the_published_constants_and_weights(tmp_path, environment, pairs):
    source = dumped(tmp_path / "x", environment)
    made = import_network(source, tmp_path / "y", environment=environment, domain="inverse")
    agent = load_agent(tmp_path / "y")
    assert settings_of(agent).double_q == (environment == "labyrinth")
    assert made.metadata.configuration["loss_weights"]["consecutive_pairs"] == pairs
    assert made.metadata.domain == "inverse"


def test_pictures_of_the_simple_maze_have_another_network(tmp_path):
    arrays = keras_list(SIMPLE_MAZE_PIXELS, drawn(SIMPLE_MAZE_PIXELS))
    output, _ = imported(tmp_path, arrays, observation="pixels")
    assert load_agent(output).architecture == SIMPLE_MAZE_PIXELS
    output.unlink()
    assert refusal(tmp_path, arrays).startswith("simple-maze-symbolic: expected the kernel of ")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_files_precision_stays(tmp_path, maze_arrays, dtype):
    exact = [np.asarray(array, dtype) + np.asarray(1 / 3, dtype) for array in maze_arrays]
    output, made = imported(tmp_path, exact)
    found = load_agent(output).parameters["encoder.1.weight"]
    assert found.numpy().dtype == dtype
    np.testing.assert_array_equal(found.numpy(), exact[0].T)
    assert made.metadata.configuration["precision"] == np.dtype(dtype).name


def test_fortran_order_and_big_endian_are_the_same_network(tmp_path, maze_arrays):
    first = imported(tmp_path, maze_arrays)[1]
    for other in (
        [np.asfortranarray(array) for array in maze_arrays],
        [array.astype(">f4") for array in maze_arrays],
        [np.asfortranarray(array.astype(">f4")) for array in maze_arrays],
    ):
        again = imported(tmp_path, other)[1]
        assert all(torch.equal(again.parameters[name], p) for name, p in first.parameters.items())


def test_equal_files_make_equal_checkpoints(tmp_path, maze_arrays):
    content = imported(tmp_path, maze_arrays)[0].read_bytes()
    assert imported(tmp_path, maze_arrays)[0].read_bytes() == content


# What does not fit


def test_the_first_array_that_does_not_fit_is_named(tmp_path, maze_arrays):
    wrong = list(maze_arrays)
    wrong[2], wrong[5] = wrong[2].T, wrong[5][:-1]
    assert refusal(tmp_path, wrong) == (
        "simple-maze-symbolic: expected the kernel of 'encoder.2', array 3 of 44, of shape "
        "[200, 100], found [100, 200]"
    )
    wrong[2] = maze_arrays[2]
    assert refusal(tmp_path, wrong) == (
        "simple-maze-symbolic: expected the bias of 'encoder.3', array 6 of 44, of shape [50], "
        "found [49]"
    )


def test_another_order_of_components(tmp_path):
    """Reward and discount alone are alike: nothing in the file could tell them apart."""
    parameters = drawn(SIMPLE_MAZE)
    arrays = keras_list(SIMPLE_MAZE, parameters)
    encoder, q, reward, discount, transition = (
        arrays[a:b] for a, b in ((0, 10), (10, 18), (18, 26), (26, 34), (34, 44))
    )
    assert "'encoder.1', array 1 of 44" in refusal(tmp_path, q + encoder + reward + discount)
    assert "the kernel of 'q.0', array 11 of 44" in refusal(
        tmp_path, encoder + transition + reward + discount + q
    )
    found = refusal(tmp_path, encoder + q + transition + reward + discount)
    assert "'reward.1', array 21 of 44, of shape [10, 50], found [10, 30]" in found
    biases_first = [arrays[place ^ 1] for place in range(len(arrays))]
    assert "array 1 of 44, of shape [64, 200], found [200]" in refusal(tmp_path, biases_first)


def test_too_few_and_too_many(tmp_path, maze_arrays):
    assert refusal(tmp_path, maze_arrays[:-1]) == (
        "simple-maze-symbolic: expected the bias of 'transition.4', array 44 of 44, found 43 arrays"
    )
    assert refusal(tmp_path, [*maze_arrays, maze_arrays[1]]) == (
        "simple-maze-symbolic: expected 44 arrays, found 45"
    )
    assert "array 1 of 44, found 0 arrays" in refusal(tmp_path, [])


def test_the_other_environments_network(tmp_path, maze_arrays):
    assert "array 1 of 68, of shape [2, 2, 1, 8], found [64, 200]" in refusal(
        tmp_path, maze_arrays, "labyrinth"
    )
    labyrinth = keras_list(LABYRINTH, drawn(LABYRINTH))
    assert "of shape [64, 200], found [2, 2, 1, 8]" in refusal(tmp_path, labyrinth)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(tmp_path, maze_arrays, bad):
    maze_arrays[7][3] = bad
    assert refusal(tmp_path, maze_arrays).endswith(
        "the bias of 'encoder.4', array 8 of 44, must be finite, is not"
    )


@pytest.mark.parametrize("dtype", ["f2", "i4", "b1", "u8"])
def test_other_types_of_numbers(tmp_path, maze_arrays, dtype):
    arrays = [array.astype(dtype) for array in maze_arrays]
    assert f"of float32 or float64, found {np.dtype(dtype)}" in refusal(tmp_path, arrays)


def test_two_precisions(tmp_path, maze_arrays):
    maze_arrays[3] = maze_arrays[3].astype(np.float64)
    assert refusal(tmp_path, maze_arrays).endswith(
        "expected all arrays of one precision, found float32 and in the bias of 'encoder.2', array "
        "4 of 44, float64"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"environment": "simple-mase"}, "did you mean 'simple-maze'"),
        ({"domain": "invers"}, "--domain has the unknown value 'invers' (did you mean 'inverse'?)"),
        ({"observation": "touch"}, "--observation has the unknown value 'touch'"),
    ],
)
def test_unknown_names(tmp_path, maze_arrays, options, sentence):
    joblib.dump(maze_arrays, tmp_path / "x")
    given = {"environment": "simple-maze", "domain": "normal"} | options
    with pytest.raises(InputError) as caught:
        import_network(tmp_path / "x", tmp_path / "y", **given)
    assert sentence in str(caught.value)
    assert not (tmp_path / "y").exists()


# Where it is written


def test_never_over_the_input(tmp_path, maze_arrays):
    source = tmp_path / "x"
    joblib.dump(maze_arrays, source)
    before = source.read_bytes()
    (tmp_path / "link").symlink_to(source)
    os.link(source, tmp_path / "hard")
    (tmp_path / "sub").mkdir()
    for output in ("x", "link", "hard", "sub/../x"):
        with pytest.raises(InputError, match="is the file that is to be imported"):
            import_network(source, tmp_path / output, environment="simple-maze", domain="normal")
        assert source.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hard", "link", "sub", "x"]


def test_what_is_refused_leaves_the_previous_checkpoint(tmp_path, maze_arrays):
    output, _ = imported(tmp_path, maze_arrays)
    before = output.read_bytes()
    joblib.dump(maze_arrays[:-1], tmp_path / "network.joblib")
    with pytest.raises(CrarDiagError):
        import_network(
            tmp_path / "network.joblib", output, environment="simple-maze", domain="normal"
        )
    assert output.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["network.joblib", "network.safetensors"]
