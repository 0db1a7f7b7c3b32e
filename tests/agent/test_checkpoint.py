import hashlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from crar_diag.agent.checkpoint import (
    Checkpoint,
    check_shapes,
    file_sha256,
    load,
    save,
    to_bytes,
)
from crar_diag.agent.sealing import CHECKPOINT, MAX_HEADER_BYTES, seal
from crar_diag.errors import CrarDiagError, InputError
from tests.agent.small_agents import json_values, metadata, parameters, refused, same, sealed


def test_what_is_saved_is_loaded(tmp_path):
    before = Checkpoint(parameters(), metadata())
    save(before, tmp_path / "a.safetensors")
    assert same(load(tmp_path / "a.safetensors"), before)
    assert same(load(str(tmp_path / "a.safetensors")), before)


def test_loaded_parameters_can_be_trained_on(tmp_path):
    save(Checkpoint(parameters(), metadata()), tmp_path / "a.safetensors")
    first, second = load(tmp_path / "a.safetensors"), load(tmp_path / "a.safetensors")
    first.parameters["encoder.0.weight"].add_(1.0)
    assert torch.equal(second.parameters["encoder.0.weight"], parameters()["encoder.0.weight"])


@given(
    st.dictionaries(st.text("ab.é", min_size=1), json_values),
    st.dictionaries(
        st.text("ab.é/", min_size=1, max_size=5),
        st.lists(st.integers(0, 3), max_size=3),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 2**63 - 1),
)
@settings(max_examples=60, deadline=None)
def test_any_agent_survives_and_gives_equal_bytes(target, configuration, shapes, seed):
    generator = torch.Generator().manual_seed(seed % 2**32)
    agent = Checkpoint(
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()},
        metadata(configuration=configuration, seed=seed),
    )
    save(agent, target)
    again = load(target)
    assert same(again, agent)
    assert to_bytes(again) == target.read_bytes()


def test_equal_agents_are_equal_bytes_whatever_their_order_and_memory(content):
    def reordered(table: dict) -> dict:
        return dict(reversed(table.items()))

    flat = torch.cat([tensor.float().flatten() for tensor in parameters().values()])
    views = {  # one shared storage, as the members of a population have
        "encoder.0.weight": flat[:12].view(3, 4).t().contiguous().t(),
        "encoder.0.bias": flat[12:15],
        "q.0.weight": parameters()["q.0.weight"].requires_grad_(),
        "scale": flat[-1],
    }
    described = metadata(
        configuration=reordered({"updates": 10, "optimizer": {"learning_rate": 5e-4}}),
        losses={"q": float("nan"), "transition": 0.1},
        architecture={"encoder": ((64, 2), "tanh"), "name": "vector"},
    )
    assert to_bytes(Checkpoint(reordered(views), described)) == content


def test_bytes_differ_where_agents_differ(content):
    changed = parameters()
    changed["scale"] = torch.tensor(0.0)  # from -0.0: equal as a number
    assert to_bytes(Checkpoint(changed, metadata())) != content
    assert to_bytes(Checkpoint(parameters(), metadata(seed=4))) != content


@given(json_values | st.dictionaries(st.sampled_from(list(metadata().model_dump())), json_values))
@settings(max_examples=100, deadline=None)
def test_sealed_files_with_other_metadata_are_refused(target, value):
    document = metadata().model_dump(mode="json")
    document |= value if isinstance(value, dict) else {"domain": value}
    target.write_bytes(seal(parameters(), document, CHECKPOINT))
    try:
        agent = load(target)
    except InputError as error:
        sentence = str(error)
        assert "\n" not in sentence
    else:
        assert agent.metadata.model_dump(mode="json") == document


def test_sealed_files_that_hold_no_agent_of_this_version(tmp_path):
    path = tmp_path / "agent.safetensors"
    nan, inf = torch.tensor([0.0, float("nan")]), torch.tensor([float("-inf")])
    for data, match in [
        (sealed(surprise=1), "metadata entry 'surprise' is not known to this version$"),
        (sealed(environment="chess"), "metadata entry 'environment' has the unknown value 'chess'"),
        (sealed(seed=-1), "'seed' must be greater than or equal to 0, found -1$"),
        (sealed(domain=""), "'domain' must have at least 1 character, found ''$"),
        (sealed(frozen=["brain"]), "'frozen' must be components .encoder, .*, found ..?brain"),
        (sealed(losses={"p": 1.0}), "'losses' must be a table of losses .transition, .*, found"),
        (sealed(base_sha256="xyz"), "metadata entry 'base_sha256' must match pattern"),
        (sealed({"e": nan}), "parameter 'e' must be finite"),
        (sealed({"e": inf}), "parameter 'e' must be finite"),
        (sealed({}), "holds no parameters"),
    ]:
        path.write_bytes(data)
        refused(path, match)
    document = metadata().model_dump(mode="json")
    for name in ("seed", "losses", "versions", "architecture"):
        rest = {key: value for key, value in document.items() if key != name}
        path.write_bytes(seal(parameters(), rest, CHECKPOINT))
        refused(path, f"metadata entry '{name}' is missing$")


def test_saving_refuses_what_loading_would(tmp_path):
    path = tmp_path / "a.safetensors"
    for tensors, match in [
        ({"a": torch.tensor([float("inf")])}, "finite parameters, 'a' is not"),
        ({"a": torch.tensor([1])}, "'a' must be float32 or float64, found torch.int64"),
        ({"a": torch.zeros(1, dtype=torch.bfloat16)}, "found torch.bfloat16"),
        ({}, "found none"),
    ]:
        with pytest.raises(CrarDiagError, match=match):
            save(Checkpoint(tensors, metadata()), path)
    huge = metadata(configuration={"a": "x" * MAX_HEADER_BYTES})
    with pytest.raises(CrarDiagError, match=f"{MAX_HEADER_BYTES} of them for its header"):
        save(Checkpoint(parameters(), huge), path)
    assert not path.exists()


def test_metadata_is_json_frozen_and_complete():
    described = metadata(losses={"q": float("inf"), "transition": 1}, frozen=["q"])
    assert described.losses == {"transition": 1.0, "q": None}
    assert list(described.losses) == ["transition", "q"]
    assert described.frozen == ("q",)
    with pytest.raises(ValidationError):
        described.seed = 4
    for wrong in ({"architecture": {"a": object()}}, {"configuration": {"a": float("nan")}}):
        with pytest.raises(ValidationError, match="made of JSON values"):
            metadata(**wrong)


def test_shapes_are_those_of_the_architecture():
    agent = Checkpoint({"a": torch.zeros(2, 3), "b": torch.zeros(())}, metadata())
    check_shapes(agent, {"b": (), "a": (2, 3)}, "x")
    for expected, match in [
        ({"a": (2, 3)}, r"expected parameter 'b' absent, found it of shape \[\]$"),
        ({"a": (3, 2), "b": ()}, r"expected parameter 'a' of shape \[3, 2\], found it of shape"),
        ({"a": (2, 3), "b": (), "c": (1,)}, r"'c' of shape \[1\], found it absent$"),
    ]:
        with pytest.raises(InputError, match=match):
            check_shapes(agent, expected, "x")


def test_file_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(InputError, match="does not exist"):
        file_sha256(tmp_path / "b")
