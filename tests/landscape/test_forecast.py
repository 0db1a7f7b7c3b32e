"""What a landscape would take: the time of known work, and the points that are left."""

from types import SimpleNamespace

import pytest
import torch

from crar_diag.agent.loading import load_agent
from crar_diag.landscape import forecast as module
from crar_diag.landscape import partial
from crar_diag.landscape.curvature import CurvatureSettings
from crar_diag.landscape.drawing import LINE_REFIT, Drawing, draw
from crar_diag.landscape.forecast import _Run, forecast, forecast_curvature
from crar_diag.landscape.views import dynamics_plane, line, random_plane, reward_plane
from tests.landscape.shipped import CORRECT, WRONG, between
from tests.runs import labyrinth_config, save_agent

BOTH = ("frozen", "unfrozen")


@pytest.fixture(scope="module")
def agents():
    return between(CORRECT, WRONG)


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the work moves."""
    clock = SimpleNamespace(now=0.0, works=[])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_the_time_is_that_of_every_point_and_the_whole_budget(agents, clock, monkeypatch):
    """A piece on a thread takes 1 ms a point, a re-fitted one 4 ms and 2 ms an iteration each."""

    def work(view, kinds, drawing):
        (kind,), count = kinds, len(view.grid)
        clock.works.append((kind, count))
        # Two threads share the pieces: a single one takes as long as two.
        at_once = {"unfrozen": 16}.get(kind, 1 if view.mode == "line" else 128)
        count = at_once * -(-count // (2 * at_once))
        refitted = 0.004 + 0.002 * drawing.refit.get("iterations", LINE_REFIT.iterations)
        clock.now += count * (0.001 if kind == "frozen" else refitted)
        return {}

    monkeypatch.setattr(module, "draw", work)
    views = [line(agents, 61), random_plane(agents, 51, 25, 0), dynamics_plane(agents, 9, 0)]
    found = forecast(views, agents, BOTH, Drawing(workers=2))
    assert [(one.what, one.count, one.left, one.numbers, one.at_most) for one in found] == [
        ("line, frozen", 61, 61, 8 * 61, False),
        ("line, unfrozen", 61, 61, 10 * 61, True),
        ("random-plane, frozen", 2601, 2601, 8 * 2601, False),
        ("random-plane, unfrozen", 625, 625, 10 * 625, True),
        ("dynamics-plane, frozen", 81, 81, 8 * 81, False),
    ]
    seconds = [0.031, 61 / 2 * 6.004, 2601 / 2 / 1000, 625 / 2 * 1.004, 0.128]
    assert [one.seconds for one in found] == pytest.approx(seconds)
    # No more than is needed to read the time: all points of a line, some of a plane.
    counts = [count for kind, count in clock.works if kind == "frozen"]
    assert counts == [2, 2, 8, 32, 61, 256, 256, 1024, 81, 81]
    assert {count for kind, count in clock.works if kind == "unfrozen"} == {32}
    given = Drawing(workers=2, refit={"iterations": 10})
    (one,) = forecast(views[:1], agents, ["unfrozen"], given)
    assert one.seconds == pytest.approx(61 / 2 * 0.024)


def test_points_are_those_of_the_middle(agents):
    for grid in (line(agents, 9).grid, random_plane(agents, 7, 7, 0).grid):
        run, first = _Run(grid, 4), (len(grid) - 4) // 2
        assert (len(run), run.shape) == (4, (4,))
        for own, whole in (
            (run.points(0, 4), grid.points(first, first + 4)),
            (run.points(3, 9), grid.points(first + 3, first + 4)),
        ):
            assert all(torch.equal(own[name], whole[name]) for name in whole)
        assert len(next(iter(run.points(0, 9).values()))) == 4


def test_of_real_agents_what_is_kept_is_not_left(agents, tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(module, "_SECONDS", 0.001)
    view = random_plane(agents, 7, 7, seed=0)
    how = {"refit": {"iterations": 3}, "partial": tmp_path / "r", "request": {"seed": 0}}

    def stop(what):
        def progress(done, total):
            if done >= 16:
                raise KeyboardInterrupt

        return progress

    with pytest.raises(KeyboardInterrupt):
        draw(view, ["unfrozen"], Drawing(progress=stop, **how))
    (kept,) = tmp_path.iterdir()
    before = kept.read_bytes()
    frozen, unfrozen = forecast([view], agents, BOTH, Drawing(**how))
    assert (frozen.left, unfrozen.left) == (49, 33)
    drawn = draw(view, BOTH, Drawing(refit={"iterations": 1}))
    assert frozen.numbers == 49 * len(drawn["frozen"].losses)
    assert unfrozen.numbers == 49 * (len(drawn["unfrozen"].losses) + 2)
    assert 0 < frozen.seconds / 49 < unfrozen.seconds / 33
    assert [kept.read_bytes()] == [before]
    assert list(tmp_path.iterdir()) == [kept]
    draw(view, ["unfrozen"], Drawing(**how))  # to its end; its file stays until the report is there
    monkeypatch.setattr(module, "draw", None)  # what is not left is not measured
    (unfrozen,) = forecast([view], agents, ["unfrozen"], Drawing(**how))
    assert (unfrozen.left, unfrozen.seconds) == (0, 0.0)


def test_scores_are_played_to_know_their_time(tmp_path, clock, monkeypatch):
    files = [save_agent(tmp_path / f"{seed}", labyrinth_config(), seed) for seed in (0, 1)]
    agents = between(*files)

    def play(view, between, drawing, *, environments):
        assert environments == 3
        clock.now += 2.0 * len(view.grid)

    monkeypatch.setattr(module, "draw_rewards", play)
    view = reward_plane(agents, 7, 0)
    (one,) = forecast([view], agents, BOTH, Drawing(), environments=3)
    assert (one.what, one.count, one.left, one.numbers) == ("reward", 49, 49, 3 * 49)
    assert one.seconds == pytest.approx(98.0)


def test_of_a_curvature_every_hessian_product_counts(clock, monkeypatch):
    """A Hessian product takes 0.25 s, all else 3 s."""

    def analyse(agent, domain, *, settings, kinds):
        assert (domain, kinds) == ("inverse", ["frozen"])
        starts = 2 + settings.density_probes
        clock.works.append(starts * settings.steps + settings.probes)
        clock.now += 3.0 + 0.25 * clock.works[-1]

    monkeypatch.setattr(module, "agent_curvature", analyse)
    agent = load_agent(CORRECT)
    settings = CurvatureSettings(steps=100, probes=40, density_probes=5)
    given = {"settings": settings, "kinds": ["frozen"]}
    cost = forecast_curvature("mine", agent, "inverse", **given)
    # Of the residuals of six eigenvalues at each end, too.
    assert (cost.what, cost.count, cost.at_most) == ("mine", 752, False)
    assert cost.numbers is None
    assert max(clock.works) < 20
    # The measurement's own two probes are in it.
    assert cost.seconds == pytest.approx(3.0 + 0.25 * 754)
    polished = forecast_curvature("mine", agent, "inverse", places=2, **given)
    assert polished.count == 2 * cost.count
    assert polished.seconds == pytest.approx(2 * cost.seconds)
