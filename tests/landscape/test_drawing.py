"""From views to surfaces: at the views' sizes, resumed where they were interrupted, or anew."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

from crar_diag.agent import networks
from crar_diag.agent.config import LOSSES
from crar_diag.agent.loading import load_agent
from crar_diag.envs import simple_maze
from crar_diag.envs.observer import Observer
from crar_diag.landscape import drawing, partial
from crar_diag.landscape.drawing import (
    LINE_REFIT,
    PLANE_REFIT,
    Drawing,
    draw,
    draw_rewards,
    line_embedding,
)
from crar_diag.landscape.grids import Plane
from crar_diag.landscape.problem import SUM
from crar_diag.landscape.reward import reward_surface
from crar_diag.landscape.surface import frozen_surface, unfrozen_surface
from crar_diag.landscape.views import dynamics_plane, line, plane, random_plane, reward_plane
from tests.landscape.shipped import CORRECT, UNFINISHED, WRONG, between
from tests.runs import BASES, labyrinth_config, save_agent

FEW = {"iterations": 3}
BOTH = ("frozen", "unfrozen")


class StopError(Exception):
    """Somebody stopped it."""


class Watch:
    """Hears of progress, and stops at a number of points of one kind."""

    def __init__(self, at: str = "", points: int = 0):
        self.at, self.points = at, points
        self.told: dict[str, list[tuple[int, int]]] = {}

    def __call__(self, what):
        def progress(done, total):
            self.told.setdefault(what, []).append((done, total))
            if what == self.at and done >= self.points:
                raise StopError

        return progress


@pytest.fixture(autouse=True)
def saved_at_once(monkeypatch):
    monkeypatch.setattr(partial, "SECONDS_BETWEEN", 0.0)


@pytest.fixture(scope="module")
def agents():
    return between(CORRECT, WRONG)


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for kind, surface in found.items():
        other = expected[kind]
        for name, values in surface.losses.items():
            np.testing.assert_array_equal(values, other.losses[name])
        np.testing.assert_array_equal(surface.converged, other.converged)
        np.testing.assert_array_equal(surface.iterations, other.iterations)


# What is drawn


def test_a_line_is_drawn_frozen_and_unfrozen_at_the_same_points(agents):
    view, watch = line(agents, 9), Watch()
    found = draw(view, BOTH, Drawing(refit=FEW, progress=watch))
    assert tuple(found) == BOTH
    free, fixed = found["unfrozen"], found["frozen"]
    assert (free.losses[SUM] <= fixed.losses[SUM]).all()
    assert free.iterations.max() == 3
    assert not free.converged.all()
    alone = frozen_surface(view.problem, view.grid, view.held, at_once=1)
    assert_same({"frozen": fixed}, {"frozen": alone})
    assert watch.told == {
        "frozen line": [(done, 9) for done in range(10)],
        "unfrozen line": [(0, 9), (9, 9)],
    }


def test_planes_are_drawn_at_two_sizes(agents):
    view = random_plane(agents, 9, 7, seed=0)
    found = draw(view, BOTH, Drawing(refit=FEW))
    assert found["frozen"].losses[SUM].shape == (9, 9)
    assert found["unfrozen"].losses[SUM].shape == found["unfrozen"].converged.shape == (7, 7)
    equal = draw(random_plane(agents, 7, 7, seed=0), BOTH, Drawing(refit=FEW))
    assert (equal["unfrozen"].losses[SUM] <= equal["frozen"].losses[SUM]).all()
    # A and B are points of both; there is nothing but rounding between the two sizes.
    (x,), (y,) = (np.flatnonzero(axis == 0) for axis in view.grid.axes)
    for name in LOSSES:
        fine, rough = found["frozen"].losses[name][x, y], equal["frozen"].losses[name][1, 3]
        assert fine == pytest.approx(rough, rel=1e-4, abs=1e-6)


def test_only_what_is_asked_for_and_can_be_is_drawn(agents):
    assert tuple(draw(line(agents, 7), ["unfrozen"], Drawing(refit=FEW))) == ("unfrozen",)
    assert tuple(draw(dynamics_plane(agents, 7, 0), BOTH, Drawing())) == ("frozen",)
    assert draw(line(agents, 7), [], Drawing()) == {}


@pytest.mark.parametrize("is_line", [True, False])
def test_refits_have_the_budget_of_the_kind_but_for_what_is_given(agents, monkeypatch, is_line):
    seen = []

    def noted(problem, grid, held, settings, **options):
        seen.append(settings)
        return unfrozen_surface(problem, grid, held, replace(settings, iterations=1), **options)

    monkeypatch.setattr(drawing, "unfrozen_surface", noted)
    view = line(agents, 7) if is_line else random_plane(agents, 7, 7, 0)
    for given in ({}, {"tolerance": 0.5}):
        draw(view, ["unfrozen"], Drawing(refit=given))
        assert seen.pop() == replace(LINE_REFIT if is_line else PLANE_REFIT, **given)


# Interrupted and resumed


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("is_line", [True, False])
def test_a_drawing_that_was_stopped_goes_on_to_the_same_values(
    agents, tmp_path, monkeypatch, kind, is_line
):
    view = line(agents, 25) if is_line else random_plane(agents, 7, 7, seed=5)
    expected = draw(view, [kind], Drawing(refit=FEW))
    monkeypatch.setattr(drawing, "_EVALUATED_AT_ONCE", 16)
    what = f"{kind} {view.mode}"
    kept = {"refit": FEW, "partial": tmp_path / "report.h5.name", "request": {"seed": 5}}
    with pytest.raises(StopError):
        draw(view, [kind], Drawing(progress=Watch(what, 16), **kept))
    (file,) = tmp_path.iterdir()
    assert file.name == f"report.h5.name.{view.mode}-{kind}.partial"
    watch = Watch()
    again = Drawing(workers=2, progress=watch, **kept)
    assert_same(draw(view, [kind], again), expected)
    assert watch.told[what][0] == (16, len(view.grid))
    again.forget(view)
    assert not any(tmp_path.iterdir())
    again.forget(view)


def test_what_was_done_when_a_refit_is_interrupted_is_kept(agents, tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "SECONDS_BETWEEN", 1e9)  # at the end, or never
    calls = []

    def interrupt():
        calls.append(1)
        if len(calls) > 5:
            raise StopError

    view, kept = random_plane(agents, 7, 7, seed=5), tmp_path / "r"
    with pytest.raises(StopError):
        draw(view, ["unfrozen"], Drawing(refit=FEW, partial=kept, interrupt=interrupt))
    watch = Watch()
    draw(view, ["unfrozen"], Drawing(refit=FEW, partial=kept, progress=watch))
    assert watch.told["unfrozen random-plane"][0] == (16, 49)


def begun(view, kind, tmp_path, **changes) -> bool:
    """Whether a drawing finds what was kept in this folder."""
    settings = {"refit": FEW, "partial": tmp_path / "r", "request": {"seed": 0}} | changes
    watch = Watch(f"{kind} {view.mode}", 0)
    with pytest.raises(StopError):
        draw(view, [kind], Drawing(progress=watch, **settings))
    return watch.told[f"{kind} {view.mode}"][0][0] > 0


def test_what_was_kept_of_another_request_is_not_used(agents, tmp_path):
    view = plane(between(CORRECT, WRONG, UNFINISHED), 7, 7)
    kept = {"refit": FEW, "partial": tmp_path / "r", "request": {"seed": 0}}
    for kind in BOTH:
        with pytest.raises(StopError):
            draw(view, [kind], Drawing(progress=Watch(f"{kind} plane", 16), **kept))
    others = {
        "weights": plane(between(CORRECT, WRONG, UNFINISHED, weights={"q": 0.0}), 7, 7),
        "third": plane(
            between(CORRECT, WRONG, BASES / "base-seed3.safetensors", domain="inverse"), 7, 7
        ),
        "size": plane(between(CORRECT, WRONG, UNFINISHED), 9, 9),
        # The same three encoders, but other dynamics below them.
        "dynamics": plane(
            between(CORRECT, WRONG, UNFINISHED, dynamics=BASES / "base-seed1.safetensors"), 7, 7
        ),
        "swapped": plane(between(WRONG, CORRECT, UNFINISHED), 7, 7),
    }
    for kind in BOTH:
        assert begun(view, kind, tmp_path)
        for other in others.values():
            assert not begun(other, kind, tmp_path)
        assert not begun(view, kind, tmp_path, request={"seed": 1})
        assert not begun(view, kind, tmp_path, request={"seed": 0, "domain": "normal"})
    # How re-fits end matters to these alone.
    assert begun(view, "frozen", tmp_path, refit={"iterations": 4})
    assert not begun(view, "unfrozen", tmp_path, refit={"iterations": 4})


def test_planes_of_two_seeds_are_not_mixed(agents, tmp_path):
    kept = {"partial": tmp_path / "r", "request": {}}
    one, other = (random_plane(agents, 7, 7, seed) for seed in (0, 1))
    with pytest.raises(StopError):
        draw(one, ["frozen"], Drawing(progress=Watch("frozen random-plane", 32), **kept))
    assert_same(draw(other, ["frozen"], Drawing(**kept)), draw(other, ["frozen"], Drawing()))


# Scores and embeddings


def test_scores_are_those_of_the_reward_surface_and_resumable(tmp_path, monkeypatch):
    short = functools.partial(reward_surface, steps=5, depth=1)  # the published play takes a minute
    monkeypatch.setattr(drawing, "reward_surface", short)
    paths = [save_agent(tmp_path / f"{k}.safetensors", labyrinth_config("0:2"), k) for k in (0, 1)]
    pair = between(*paths, transitions=4)
    view = reward_plane(pair, 7, 0)
    few = Plane(view.grid.origin, view.grid.u, view.grid.v, np.array([0.0, 1.0]), np.zeros(2))
    view = replace(view, grid=few)
    kept = {"partial": tmp_path / "kept", "request": {"seed": 7}}
    with pytest.raises(StopError):
        draw_rewards(view, pair, Drawing(progress=Watch("score", 2), **kept), environments=2)
    watch = Watch()
    again = Drawing(progress=watch, **kept)
    found = draw_rewards(view, pair, again, environments=2)
    assert watch.told["score"] == [(2, 4), (4, 4)]
    end = load_agent(paths[0])
    expected = short(end, few, view.held, "normal", environments=2, seed=7)
    np.testing.assert_array_equal(found.scores, expected.scores)
    again.forget(view)
    assert not list(tmp_path.glob("kept*"))


def test_the_embedding_along_a_line_is_that_of_each_points_encoder(agents):
    view = line(agents, 7)
    found = line_embedding(agents, view, agents.ends.agents[0])
    pictures = Observer("simple-maze", "symbolic", "inverse")(simple_maze.all_tiles())
    architecture, points = agents.ends.agents[0].architecture, view.grid.points(0, 7)
    for k in range(7):
        own = {name: p[k] for name, p in points.items()}
        expected = networks.encode(architecture, own, torch.from_numpy(pictures))
        torch.testing.assert_close(found[k], expected, rtol=0, atol=1e-5)
