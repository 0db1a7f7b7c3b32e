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


@pytest.mark.parametrize(("name", "needs"), [("cuda", 1), ("cuda:0", 1), ("cuda:1", 2)])
def test_a_device_is_there_or_refused(count, name, needs):
    if count >= needs:
        assert device_named(name) == torch.device(name)
        return
    seen = "no CUDA device" if count == 0 else f"no '{name}' among 1 CUDA devices"
    with pytest.raises(InputError) as error:
        device_named(name, "worker 'x'")
    assert str(error.value) == f"worker 'x' sees {seen}: expected 'cpu' or 'auto'"
