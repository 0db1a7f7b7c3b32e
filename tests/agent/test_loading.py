import pickle

import pytest
import safetensors.torch
import torch

from crar_diag.agent import networks
from crar_diag.agent.architecture import LABYRINTH_SYMBOLIC, SIMPLE_MAZE, architecture_for
from crar_diag.agent.loading import load_agent, load_agents
from crar_diag.agent.sealing import CHECKPOINT, seal, unseal
from crar_diag.agent.streams import stream
from crar_diag.errors import InputError
from tests.runs import labyrinth_config, maze_config, save_agent


def refused(path, match: str) -> None:
    with pytest.raises(InputError, match=match) as caught:
        load_agent(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [maze_config(), maze_config("0", 1, "observation=pixels"), labyrinth_config()],
    ids=lambda config: f"{config.environment}-{config.observation}",
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_an_agent_comes_back_with_its_layers(tmp_path, config, precision):
    config = config.model_copy(update={"precision": precision})
    path = save_agent(tmp_path / "a.safetensors", config, 5)
    agent = load_agent(str(path))
    assert agent.path == path
    assert agent.architecture == architecture_for(config.environment, config.observation)
    assert agent.metadata.seed == 5
    drawn = networks.initialise(
        agent.architecture, stream(5, "initialisation"), getattr(torch, precision)
    )
    assert agent.parameters.keys() == drawn.keys()
    for name, parameter in drawn.items():
        assert torch.equal(agent.parameters[name], parameter)
        assert agent.parameters[name].dtype == parameter.dtype


def test_several_agents_keep_their_order(tmp_path):
    paths = [save_agent(tmp_path / f"{s}.safetensors", maze_config(), s) for s in (3, 1, 2)]
    assert [agent.metadata.seed for agent in load_agents(paths)] == [3, 1, 2]
    with pytest.raises(InputError, match="expected at least one checkpoint, got none"):
        load_agents([])


def test_parameters_that_do_not_fit_the_architecture(tmp_path):
    path = save_agent(tmp_path / "a.safetensors", maze_config())
    parameters, document = unseal(path, CHECKPOINT)
    for name, change, match in [
        ("q.0.bias", None, r"expected parameter 'q.0.bias' of shape \[20\], found it absent$"),
        ("q.0.bias", torch.zeros(3), r"of shape \[20\], found it of shape \[3\]$"),
        ("q.9.bias", torch.zeros(3), r"'q.9.bias' absent, found it of shape \[3\]$"),
    ]:
        changed = {n: p for n, p in parameters.items() if n != name}
        if change is not None:
            changed[name] = change
        path.write_bytes(seal(changed, document, CHECKPOINT))
        refused(path, match)


def test_an_architecture_of_another_task(tmp_path):
    # Every parameter is as the description says; the description is another environment's.
    labyrinth = networks.initialise(LABYRINTH_SYMBOLIC, stream(0, "initialisation"))
    path = save_agent(tmp_path / "a.safetensors", maze_config("0", 1, "observation=pixels"))
    _, document = unseal(path, CHECKPOINT)
    document["architecture"] = LABYRINTH_SYMBOLIC.spec()
    path.write_bytes(seal(labyrinth, document, CHECKPOINT))
    refused(path, r"wrong architecture for simple-maze: expected observations \(1, 48, 48\)")


def dense(inputs: int, outputs: int) -> list[object]:
    return ["Dense", inputs, outputs, False]


@pytest.mark.parametrize(
    ("component", "layers", "match"),
    [
        ("reward", [dense(6, 3)], r"expected its reward to return \[1\], found \[3\]$"),
        ("discount", [dense(7, 1)], "the layers of its discount do not fit together: "),
        ("q", [dense(2, 3)], r"expected its q to return \[4\], found \[3\]$"),
        ("transition", [dense(6, 1)], r"expected its transition to return \[2\], found \[1\]$"),
        ("encoder", [["Flatten"], dense(64, 3)], r"encoder to return \[2\], found \[3\]$"),
        ("encoder", [["MaxPool", 0], ["Flatten"], dense(64, 2)], "encoder do not fit together"),
        ("encoder", [["Conv", 1, 2, 3, True]], r"encoder to return \[2\], found \[2, 8, 8\]$"),
        ("q", [["Dense", 2]], "description of the architecture is broken"),
        ("q", [["Recurrent", 2, 4]], "description of the architecture is broken: KeyError"),
        ("q", 7, "description of the architecture is broken"),
    ],
)
def test_layers_that_do_not_fit_together(tmp_path, component, layers, match):
    """The shapes are those of the description, and the digest is right: only trying shows it."""
    path = save_agent(tmp_path / "a.safetensors", maze_config())
    parameters, document = unseal(path, CHECKPOINT)
    document["architecture"][component] = layers
    parameters = {n: p for n, p in parameters.items() if not n.startswith(f"{component}.")}
    for k, layer in enumerate(layers if isinstance(layers, list) else []):
        if layer[0] == "Dense" and len(layer) > 2:
            parameters[f"{component}.{k}.weight"] = torch.zeros(layer[2], layer[1])
            parameters[f"{component}.{k}.bias"] = torch.zeros(layer[2])
        if layer[0] == "Conv":
            parameters[f"{component}.{k}.weight"] = torch.zeros(layer[2], layer[1], 3, 3)
            parameters[f"{component}.{k}.bias"] = torch.zeros(layer[2])
    path.write_bytes(seal(parameters, document, CHECKPOINT))
    refused(path, match)


def test_parameters_of_two_precisions(tmp_path):
    double = torch.zeros(4, dtype=torch.float64)
    path = save_agent(tmp_path / "a.safetensors", maze_config(), parameters={"q.3.bias": double})
    refused(path, "the layers of its q do not fit together")


def test_a_name_of_the_architecture_decides_nothing(tmp_path):
    spec = SIMPLE_MAZE.spec() | {"name": "my-own"}
    path = save_agent(tmp_path / "a.safetensors", maze_config(), architecture=spec)
    assert load_agent(path).architecture.name == "my-own"


def test_files_that_are_no_checkpoint(tmp_path):
    path = tmp_path / "a.safetensors"
    refused(path, "does not exist$")
    good = save_agent(tmp_path / "good.safetensors", maze_config()).read_bytes()
    parameters = {"encoder.1.weight": torch.zeros(2)}
    not_finite = unseal(tmp_path / "good.safetensors", CHECKPOINT)
    not_finite[0]["q.3.bias"] = torch.tensor([0.0, 0.0, float("nan"), 0.0])
    for data, match in [
        (b"", "is empty$"),
        (good[: len(good) // 2], "is truncated or damaged"),
        (good[:-1] + bytes([good[-1] ^ 1]), "damaged or was altered"),
        (safetensors.torch.save(parameters), "is not one of crar-diag's"),
        (pickle.dumps(parameters), "pickles are never loaded"),
        (b"import os\n" * 9, "expected a safetensors file"),
        (seal(*not_finite, CHECKPOINT), r"parameter 'q.3.bias' must be finite, is not$"),
    ]:
        path.write_bytes(data)
        refused(path, match)
    refused(tmp_path, "expected a regular file, found a folder$")
