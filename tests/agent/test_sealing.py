import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crar_diag.agent.checkpoint import Checkpoint, load
from crar_diag.agent.sealing import (
    MAX_HEADER_BYTES,
    RESUME_STATE,
    canonical_json,
    seal,
    unseal,
)
from crar_diag.errors import InputError
from tests.agent.small_agents import (
    file_of,
    json_values,
    metadata,
    parameters,
    refused,
    same,
    sealed,
)


def test_the_header_has_one_entry_of_canonical_json_with_the_digest_of_everything(content):
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    assert list(header["__metadata__"]) == ["crar_diag"]
    text = header["__metadata__"]["crar_diag"]
    document = json.loads(text)
    assert canonical_json(document) == text
    digest = document.pop("digest")
    plain = canonical_json(document)
    expected = hashlib.sha256(f"{len(plain)}\n{plain}\n".encode())
    for name, tensor in sorted(parameters().items()):
        code = {torch.float32: "f", torch.float64: "d"}[tensor.dtype]
        head = json.dumps([name, str(tensor.dtype), list(tensor.shape)], separators=(",", ":"))
        values = tensor.flatten().tolist()
        expected.update(head.encode() + b"\n" + struct.pack(f"<{len(values)}{code}", *values))
    assert digest == expected.hexdigest()


def test_any_other_reader_of_safetensors_reads_the_parameters(content):
    tensors = safetensors.torch.load(content)
    assert tensors.keys() == parameters().keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in parameters().items())


def test_every_truncation_is_refused(content, target):
    for length in range(len(content)):
        target.write_bytes(content[:length])
        refused(target)
    target.write_bytes(content[:-1])
    refused(target, "truncated or damaged: expected .* bytes, found")
    target.write_bytes(content + b"\0")
    refused(target, "truncated or damaged: expected .* bytes, found")


def test_a_flipped_bit_is_refused_wherever_it_is(content, target):
    """All bits of the length field and one, in turn, of every other byte."""
    for place in range(len(content)):
        for bit in range(8) if place < 8 else [place % 8]:
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            target.write_bytes(changed)
            refused(target)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_any_edit_is_refused_or_changes_nothing(content, target, data):
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(changed)))
        end = data.draw(st.integers(start, min(start + 20, len(changed))))
        changed[start:end] = data.draw(st.binary(max_size=20))
    target.write_bytes(changed)
    try:
        agent = load(target)
    except InputError:
        return
    assert same(agent, Checkpoint(parameters(), metadata()))


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_random_bytes_are_refused(target, data):
    target.write_bytes(data)
    refused(target)
    target.write_bytes(file_of(b"{" + data, data))
    refused(target)


entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "F64", "BF16", "F8_E4M3", "I64", "X"]) | json_values,
        "shape": st.lists(st.integers(-1, 2**65), max_size=3) | json_values,
        "data_offsets": st.lists(st.integers(-1, 2**65), max_size=3) | json_values,
    },
)


@given(
    st.dictionaries(st.text(max_size=3), entries | json_values, max_size=3),
    json_values | st.fixed_dictionaries({"crar_diag": json_values.map(json.dumps)}),
    st.binary(max_size=64),
)
@settings(max_examples=200, deadline=None)
def test_headers_that_are_json_but_not_ours_are_refused(target, tensors, entry, data):
    header = json.dumps({**tensors, "__metadata__": entry}).encode()
    target.write_bytes(file_of(header, data))
    refused(target)


def torch_saved(path: Path, **options: bool) -> bytes:
    torch.save(parameters(), path, **options)
    return path.read_bytes()


def test_files_of_other_kinds_are_named(tmp_path):
    path = tmp_path / "agent.safetensors"
    refused(path, "does not exist$")
    refused(tmp_path, "expected a regular file, found a folder$")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "expected a regular file, found something else$")
    with pytest.raises(InputError, match="cannot be read: embedded null"):
        load(tmp_path / "a\0b")
    never = "pickles are never loaded"
    damaged = "is damaged: unreadable header"
    foreign = "not one of crar-diag's: expected a safetensors file"
    for data, match in [
        (b"", "is empty$"),
        (b"hello", foreign),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, foreign),
        (torch_saved(tmp_path / "t"), never),
        (torch_saved(tmp_path / "t", _use_new_zipfile_serialization=False), never),
        *((pickle.dumps({"a": 1}, protocol), never) for protocol in (2, 3, 4, 5)),
        (pickle.dumps({"a": 1}, 0), foreign),
        (safetensors.torch.save({"a": torch.zeros(2)}), "expected .* header entry 'crar_diag'"),
        (safetensors.torch.save({}, {"other": "x"}), "expected .* header entry 'crar_diag'"),
        (safetensors.torch.save({}, {"crar_diag": "{}", "b": "x"}), "unknown header entry 'b'$"),
        (safetensors.torch.save({}, {"crar_diag": "[]"}), f"{damaged} .not a JSON object"),
        (safetensors.torch.save({}, {"crar_diag": "{}"}), "states no format version"),
        (file_of(b'{"a":\xff}'), f"{damaged} .*utf-8"),
        (file_of(b'{"a":1,"a":1}'), f"{damaged} .a key appears twice"),
        (file_of(b'{"a":' * 200_000), f"{damaged} .nested too deeply"),
        (file_of(b'{"a":' + b"9" * 5000 + b"}"), damaged),
        (safetensors.torch.save({}, {"crar_diag": '{"a":1,"a":1}'}), f"{damaged} .a key app"),
        (safetensors.torch.save({}, {"crar_diag": '{"format_version":1e999}'}), "no format"),
        (
            safetensors.torch.save({}, {"crar_diag": '{"format_version":1,"a":NaN}'}),
            "does not match its digest",
        ),
        (seal(parameters(), {"format_version": 1}, RESUME_STATE), "header entry 'crar_diag'"),
    ]:
        path.write_bytes(data)
        refused(path, match)


def test_a_pickle_is_not_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    for protocol in range(6):
        (tmp_path / "bomb.safetensors").write_bytes(pickle.dumps(Bomb(), protocol))
        refused(tmp_path / "bomb.safetensors")
    assert not (tmp_path / "exploded").exists()


def test_sealed_files_of_other_formats_and_types(tmp_path):
    path = tmp_path / "agent.safetensors"
    for data, match in [
        (sealed(format_version=2), "has format version 2, this crar-diag reads up to 1"),
        (sealed(format_version=0), "states no format version"),
        (sealed(format_version=True), "states no format version"),
        (
            seal(
                {"e": torch.zeros(2, dtype=torch.int64)}, {"format_version": 1}, RESUME_STATE
            ).replace(b'"crar_diag_resume"', b'"crar_diag"       '),
            "tensor 'e' must be float32 or float64, found 'I64'$",
        ),
    ]:
        path.write_bytes(data)
        refused(path, match)


def test_a_changed_number_is_noticed_in_tensors_and_in_metadata(content, target):
    for data in (
        content[:-1] + bytes([content[-1] ^ 1]),
        content.replace(b'\\"seed\\":3', b'\\"seed\\":4'),
        content.replace(b'"scale"', b'"scalf"'),
    ):
        assert data != content
        target.write_bytes(data)
        refused(target, "content does not match its digest")


def test_absurd_lengths_allocate_nothing(tmp_path):
    """A header or a tensor that claims gigabytes is refused with 256 MiB of memory left."""
    claims = []
    for number, length in enumerate((2**62, 2**64 - 1, MAX_HEADER_BYTES + 1)):
        path = tmp_path / f"header{number}"
        path.write_bytes(struct.pack("<Q", length) + b'{"a":1}')
        claims.append(path)
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.write(struct.pack("<Q", 2**33) + b"{")
        file.truncate(2**33 + 100)
    claims.append(sparse)
    entry = {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}
    header = json.dumps({"a": entry, "__metadata__": {"crar_diag": "{}"}}).encode()
    (tmp_path / "tensor").write_bytes(file_of(header, b"1234"))
    claims.append(tmp_path / "tensor")
    code = (
        "import resource, sys\n"
        "from crar_diag.agent.checkpoint import load\n"
        "from crar_diag.errors import InputError\n"
        "held = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (held + 2**28,) * 2)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        load(path)\n"
        "    except InputError as error:\n        print('refused', error)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, *map(str, claims)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    lines = answer.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["refused"] * len(claims)
    assert all("truncated or damaged" in line for line in lines)


def test_resume_state_holds_generators_and_diverged_members(tmp_path):
    tensors = {
        "generator": torch.Generator().manual_seed(1).get_state(),
        "counts": torch.tensor([[1], [2]]),
        "alive": torch.tensor([True, False]),
        "parameters": torch.tensor([float("nan"), float("inf")]),
    }
    document = {"format_version": 1, "counters": {"words": 2**128 - 1}}
    path = tmp_path / "resume.safetensors"
    path.write_bytes(seal(tensors, document, RESUME_STATE))
    found, again = unseal(path, RESUME_STATE)
    assert again == document
    for name, tensor in tensors.items():
        assert torch.equal(found[name].nan_to_num(7.0), tensor.nan_to_num(7.0))
        assert found[name].dtype == tensor.dtype
