"""The devices of this process, for as many CUDA devices as there may be."""

import pytest
import torch

from crar_diag.devices import device_named
from crar_diag.errors import InputError


@pytest.fixture(params=[0, 1, 2])
def count(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
    return request.param


def test_auto_is_cuda_where_there_is_one(count):
    assert device_named("auto") == torch.device("cuda" if count else "cpu")
    assert device_named("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "index"),
    [("cuda", None), ("cuda:0", 0), ("cuda:00", 0), ("cuda:1", 1), ("cuda:01", 1)],
)
def test_a_device_is_there_or_refused(count, name, index):
    if count > (index or 0):
        found = device_named(name)
        assert (found.type, found.index) == ("cuda", index)
        return
    there = {0: "no CUDA device: expected 'cpu' or 'auto'", 1: f"no '{name}': expected cuda:0"}
    with pytest.raises(InputError) as error:
        device_named(name, "worker 'x'")
    assert str(error.value) == f"worker 'x' sees {there[count]}"


@pytest.mark.parametrize("number", [2, 5, 128, 256, 99999999999])
def test_a_number_that_no_device_has_is_one_sentence(monkeypatch, number):
    """PyTorch takes it modulo 256, or raises an error of its own."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(InputError, match=rf"sees no 'cuda:{number}': expected cuda:0 to cuda:1$"):
        device_named(f"cuda:{number}")
