"""Surfaces in pieces: interrupted and resumed, on several workers, and what is refused."""

import numpy as np
import pytest
import torch

from crar_diag.errors import InputError
from tests.landscape import toys
from tests.landscape.test_surface import frozen, unfrozen, with_errors


def everything(surface) -> dict[str, np.ndarray]:
    found = surface.losses | {f"error {name}": v for name, v in surface.errors.items()}
    return found | {"converged": surface.converged, "iterations": surface.iterations}


def assert_same(one, other):
    first, second = everything(one), everything(other)
    assert first.keys() == second.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name], err_msg=name)


class StopError(Exception):
    """Somebody stopped it."""


@pytest.mark.parametrize("draw", [frozen, unfrozen])
def test_the_number_of_workers_changes_nothing(draw):
    expected = draw()
    for workers in (2, 5):
        assert_same(draw(workers=workers), expected)


@pytest.mark.parametrize("draw", [frozen, unfrozen])
def test_an_interrupted_surface_goes_on_to_the_same_values(draw):
    problem, expected = with_errors(), draw(problem=with_errors())
    for stop in (4, 8, 12):
        kept, told = {}, []

        def save(values, done, kept=kept):
            kept |= {name: array.copy() for name, array in values.items()}

        def progress(done, total, stop=stop):
            if done == stop:
                raise StopError

        with pytest.raises(StopError):
            draw(problem=problem, save=save, progress=progress)
        assert int(kept["done"]) == stop
        before = {name: array.copy() for name, array in kept.items()}
        resumed = draw(
            problem=problem,
            before=kept,
            progress=lambda done, total, told=told: told.append((done, total)),
            workers=2,
        )
        assert_same(resumed, expected)
        assert told == [(done, 12) for done in range(stop, 13, 4)]
        assert all(np.array_equal(array, kept[name]) for name, array in before.items())


def test_a_refit_that_is_interrupted_ends_the_surface():
    calls = []

    def interrupt():
        calls.append(1)
        if len(calls) >= 5:
            raise StopError

    with pytest.raises(StopError):
        unfrozen(interrupt=interrupt)
    assert len(calls) <= 4 + 3  # each of three pieces at most once


def test_threads_are_as_before():
    torch.set_num_threads(2)
    try:
        frozen(workers=3)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_numbers_that_mean_nothing_are_refused():
    for name in ("at_once", "workers"):
        for draw in (frozen, unfrozen):
            with pytest.raises(InputError, match=f"^{name} must be at least 1, found 0$"):
                draw(**{name: 0})
    with pytest.raises(InputError, match=r"^evaluated_at_once must be at l"):
        unfrozen(evaluated_at_once=0)
    with pytest.raises(InputError, match="what was saved has 13 points, the grid only 12"):
        frozen(before={"loss/fit": np.zeros(13), "done": np.array(13)})
    with pytest.raises(InputError, match="expected names of the parameters to re-fit, found none"):
        unfrozen(problem=toys.problem(refits=()))
