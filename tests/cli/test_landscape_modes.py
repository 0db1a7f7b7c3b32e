"""`crar-diag landscape`: trajectories, scores, and the engine loss-landscapes."""

import numpy as np
import pytest

from crar_diag.agent.snapshots import snapshot_files
from crar_diag.landscape.reward import reward_surface
from crar_diag.report.store import read_report, report_groups
from tests.cli.landscapes import FROZEN, LABEL, LINE, PLANE, A, B
from tests.cli.test_landscape import losses_of
from tests.runs import BASES, labyrinth_config, save_agent, trained, transfer_config

LIBRARY = ["--engine", "loss-landscapes", *FROZEN]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A transfer of two epochs with its snapshots: 0, 10 and 20 updates."""
    config = transfer_config([BASES / "base-seed1.safetensors"], "snapshots_every=1", seeds="0")
    return trained(config, tmp_path_factory.mktemp("landscape") / "run")


# A trajectory


def test_a_trajectory_ends_at_its_own_file_with_the_losses_of_every_snapshot(cli, run, tmp_path):
    (end,) = run.glob("*.safetensors")
    snapshots = snapshot_files(run, end.stem)
    expected = losses_of(cli, *(snapshot.path for snapshot in snapshots))
    path = tmp_path / "report.h5"
    given = ["--mode", "trajectory", "--points", 5, "--unfrozen-points", 3]
    answer = cli("landscape", end, *given, "--refit-iterations", 2, "-o", path, "--json")
    assert (answer.code, answer.err) == (0, "")
    view = answer.json["views"]["trajectory"]
    found = view["trajectory"]
    assert found["updates"] == [snapshot.updates for snapshot in snapshots] == [0, 10, 20]
    for k, losses in enumerate(expected):
        assert {name: found["losses"][name][k] for name in losses} == losses
    assert expected[-1] == losses_of(cli, end)[0]
    assert (found["x"][-1], found["y"][-1], found["distance"][-1]) == (0, 0, 0)
    # Three points lie in the plane through them.
    assert max(found["distance"]) < 1e-6 * max(found["x"])
    assert sum(view["explained_variance_ratio"]) == pytest.approx(1)
    assert "has 100% of the trajectory's variance" in answer.json["notes"][-1]
    group = read_report(path, f"plane/{end.stem}-trajectory")
    assert group.trajectory_distance.values.tolist() == found["distance"]
    assert group.frozen.shape == (8, 5, 5)
    assert group.unfrozen.shape == (8, 3, 3)


def test_another_agent_is_marked_where_it_projects_to(cli, run):
    (end,) = run.glob("*.safetensors")
    given = ["--mode", "trajectory", "--points", 3, *FROZEN, "--json"]
    answer = cli("landscape", end, A, *given).json
    view = answer["views"]["trajectory"]
    both = cli("landscape", end, A, *LINE, *FROZEN, "--json").json["views"]["line"]
    apart = view["points"]["B"]
    length = np.sqrt(apart["x"] ** 2 + apart["y"] ** 2 + apart["distance"] ** 2)
    assert length == pytest.approx(both["distance_a_b"], rel=1e-6)
    assert f"trajectory: B lies {apart['distance']:.4g} off the plane" in " ".join(answer["notes"])


# Scores


def test_the_score_of_an_end_is_what_evaluate_prints(cli, labyrinth_run, tmp_path, monkeypatch):
    for name, value in {"depth": 1, "steps": 6, "episode_cap": 4}.items():
        monkeypatch.setitem(reward_surface.__kwdefaults__, name, value)
    first = labyrinth_run / "base-seed0.safetensors"
    second = save_agent(tmp_path / "second.safetensors", labyrinth_config("0", 5), 1)
    path = tmp_path / "report.h5"
    given = ["--mode", "reward", "--points", 7, "--environments", 2, "--transitions", 12]
    answer = cli("landscape", first, second, *given, "-o", path, "--json")
    assert (answer.code, answer.err) == (0, "")
    group = read_report(path, f"plane/{first.stem}-to-{second.stem}-reward")
    play = ["--depth", 1, "--steps", 6, "--episode-cap", 4, "--environments", 2]
    (own,) = cli("evaluate", first, *play, "--json").json["checkpoints"]
    assert float(group.score.sel(x=0, y=0)) == own["score"]
    assert float(group.score_error.sel(x=0, y=0)) == own["score_error"]
    extremes = answer.json["views"]["reward"]["score"]["score"]
    assert extremes == {"least": float(group.score.min()), "largest": float(group.score.max())}
    assert group.attrs["environments"] == 2


# The library loss-landscapes


def test_the_library_finds_what_we_find_where_it_samples(cli, tmp_path):
    path = tmp_path / "report.h5"
    cli("landscape", A, B, *LINE, *FROZEN, "-o", path)
    ours = read_report(path, f"line/{LABEL}")
    answer = cli("landscape", A, B, *LINE, *LIBRARY, "-o", path, "--json")
    assert (answer.code, answer.err) == (0, "")
    line = answer.json["views"]["line"]
    np.testing.assert_allclose(line["alpha"], np.arange(1, 8) / 7, rtol=1e-12)
    for name, value in losses_of(cli, B)[0].items():
        assert line["frozen"][name]["values"][-1] == pytest.approx(value, rel=1e-5)
    assert answer.json["notes"][-1] == (
        "line: by loss-landscapes, at the coordinates that it really samples"
    )
    groups = list(report_groups(path))
    assert groups == [f"line/{LABEL}", f"line/{LABEL}-loss-landscapes"]
    assert read_report(path, groups[0]).identical(ours)
    stored = read_report(path, groups[1])
    assert stored.value.sel(loss="sum").values.tolist() == line["frozen"]["sum"]["values"]
    assert stored.attrs["engine"] == "loss-landscapes"


def test_the_library_draws_both_of_its_views(cli, tmp_path):
    figure = tmp_path / "x.png"
    given = ["--mode", "line,random-plane", "--points", 7, *LIBRARY, "--figure", figure]
    answer = cli("landscape", A, B, *given, "--json")
    assert answer.code == 0
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["x-random-plane.png", "x.png"]
    assert set(answer.json["views"]) == {"line", "random-plane"}


@pytest.mark.parametrize(
    ("options", "found", "option"),
    [
        (["--dynamics", "frozen,unfrozen"], "unfrozen dynamics", "--dynamics"),
        (["--mode", "line,dynamics-plane"], "dynamics-plane", "--mode"),
    ],
)
def test_the_library_has_no_other_views(cli, options, found, option):
    answer = cli("landscape", A, B, *PLANE, *LIBRARY, *options)
    assert answer.code == 2
    assert answer.sentence == (
        "the engine loss-landscapes has the line and the random plane with frozen dynamics only, "
        f"found {found} ({option})"
    )
