import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from crar_diag.envs.names import DEFAULT_OBSERVATION, ENVIRONMENTS
from crar_diag.envs.observer import Observer
from crar_diag.envs.rendering import render
from crar_diag.envs.simple_maze import all_tiles
from crar_diag.errors import InputError


def test_shapes_and_defaults():
    assert ENVIRONMENTS == ("simple-maze", "labyrinth")
    assert DEFAULT_OBSERVATION == {"simple-maze": "symbolic", "labyrinth": "pixels"}
    assert Observer("simple-maze", "symbolic").shape == (1, 8, 8)
    assert Observer("labyrinth", "pixels").shape == (1, 48, 48)


@pytest.mark.parametrize("name", ["normal", "inverse", "swapped"])
@pytest.mark.parametrize("observation", ["symbolic", "pixels"])
def test_the_table_says_all_of_a_tilewise_domain(name, observation):
    observer = Observer("simple-maze", observation, name)
    assert observer.tilewise
    assert np.array_equal(observer(all_tiles()), render(all_tiles(), observer.table))


def test_tensors_stay_on_their_device_and_integers_of_any_width_do():
    observer = Observer("simple-maze", "symbolic", "inverse")
    for dtype in (torch.uint8, torch.int32, torch.int64):
        seen = observer(torch.from_numpy(all_tiles()).to(dtype))
        assert seen.device.type == "cpu"
        assert np.array_equal(seen.numpy(), observer(all_tiles()))


def test_equal_names_make_equal_observers_and_copies_work():
    observer = Observer("labyrinth", "pixels", "noise")
    observer(torch.from_numpy(all_tiles()))
    assert observer == Observer("labyrinth", "pixels", "noise") != Observer("labyrinth", "pixels")
    assert len({observer, pickle.loads(pickle.dumps(observer)), copy.deepcopy(observer)}) == 1


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("maze", "symbolic", "normal"), "unknown environment 'maze'"),
        (("simple-maze", "rgb", "normal"), "unknown observation 'rgb'"),
        (("simple-maze", "symbolic", "rotate"), "did you mean 'rotated'"),
    ],
)
def test_unknown_names_are_refused_at_once(names, message):
    with pytest.raises(InputError, match=message):
        Observer(*names)


def test_importing_the_package_does_not_import_torch():
    code = "import sys, crar_diag.envs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
