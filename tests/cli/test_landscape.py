"""`crar-diag landscape`: lines and planes of the shipped transfers."""

import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from crar_diag.agent.checkpoint import file_sha256
from crar_diag.agent.config import LOSSES
from crar_diag.landscape.barriers import barrier
from crar_diag.report.store import read_report
from tests.cli.conftest import terminal
from tests.cli.landscapes import FROZEN, LABEL, LINE, PLANE, REFIT, A, B, C
from tests.runs import BASES, labyrinth_config, save_agent

STRUCTURE = ("volume", "random_pairs", "consecutive_pairs")


def losses_of(cli, *arguments) -> list[dict[str, float]]:
    return [one["losses"] for one in cli("evaluate", *arguments, "--json").json["checkpoints"]]


def at(view, kind: str, alpha: float) -> dict[str, float]:
    where = view["alpha"].index(alpha)
    return {loss: own["values"][where] for loss, own in view[kind].items() if loss != "sum"}


# Lines


@pytest.mark.parametrize("domain", [[], ["--domain", "normal"]])
def test_the_ends_of_a_frozen_line_are_what_evaluate_prints_of_the_files(cli, domain):
    answer = cli("landscape", A, B, *LINE, *FROZEN, *domain, "--json")
    assert (answer.code, answer.err) == (0, "")
    view = answer.json["views"]["line"]
    assert view["alpha"] == [-0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
    assert [at(view, "frozen", alpha) for alpha in (0, 1)] == losses_of(cli, A, B, *domain)


def test_in_the_labyrinth_too_on_the_same_held_out_sample(cli, labyrinth_run, tmp_path):
    first = labyrinth_run / "base-seed0.safetensors"
    second = save_agent(tmp_path / "second.safetensors", labyrinth_config("0", 5), 1)
    expected = losses_of(cli, first, second)
    for dynamics, alpha, whose in ((first, 0, 0), (second, 1, 1)):
        given = [*LINE, *FROZEN, "--transitions", 12, "--dynamics-from", dynamics]
        answer = cli("landscape", first, second, *given, "--json").json
        assert at(answer["views"]["line"], "frozen", alpha) == expected[whose]
        assert f"those of '{dynamics}' are taken everywhere" in answer["notes"][1]


def test_the_sum_is_that_of_the_weights_which_can_be_chosen(cli):
    for chosen in ({}, {"volume": 0.0, "transition": 3.0}):
        options = [word for n, x in chosen.items() for word in ("--weight", f"{n}={x}")]
        answer = cli("landscape", A, B, *LINE, *FROZEN, *options, "--json").json
        weights = dict.fromkeys(LOSSES, 1.0) | {"consecutive_pairs": 0.2} | chosen
        assert answer["weights"] == weights
        losses = answer["views"]["line"]["frozen"]
        total = sum(w * np.array(losses[n]["values"]) for n, w in weights.items())
        np.testing.assert_allclose(losses["sum"]["values"], total, rtol=1e-6)


def test_barriers_are_those_of_the_values_by_hand(cli):
    view = cli("landscape", A, B, "--mode", "line", "--points", 13, *FROZEN, "--json").json[
        "views"
    ]["line"]
    places, inside = np.array(view["alpha"]), slice(2, 11)
    assert places[inside][[0, -1]].tolist() == [0, 1]
    for own in view["frozen"].values():
        values = np.array(own["values"])[inside]
        rise = values - np.interp(places[inside], [0, 1], values[[0, -1]])
        assert own["above_line"] == pytest.approx(max(rise.max(), 0), rel=1e-12, abs=1e-15)
        assert own["above_ends"] == values.max() - max(values[0], values[-1])
        assert own["above_ends_at"] == places[inside][values.argmax()]
        found = barrier(places, np.array(own["values"]))
        assert (own["above_line"], own["above_line_at"]) == (found.above_line, found.above_line_at)


def test_re_fitting_lowers_the_sum_everywhere_and_leaves_the_structure_losses(cli):
    sizes = ["--mode", "line,random-plane", "--points", 7]
    answer = cli("landscape", A, B, *sizes, *REFIT, "--json").json
    line, plane = answer["views"]["line"], answer["views"]["random-plane"]
    sums = [np.array(line[kind]["sum"]["values"]) for kind in ("frozen", "unfrozen")]
    assert (sums[1] < sums[0]).all()
    for loss in STRUCTURE:
        assert line["unfrozen"][loss] == line["frozen"][loss]
        assert plane["unfrozen"][loss] == plane["frozen"][loss]
    for end in ("least", "largest"):
        assert plane["unfrozen"]["sum"][end] <= plane["frozen"]["sum"][end]
    assert line["refit"] == {"converged": 0, "points": 7}
    assert plane["refit"]["points"] == 49


# Planes


def test_a_random_plane_has_the_line_as_its_middle(cli, tmp_path):
    path = tmp_path / "report.h5"
    view = cli("landscape", A, B, *LINE, *FROZEN, "--json").json["views"]["line"]
    answer = cli("landscape", A, B, *PLANE, *FROZEN, "-o", path, "--json").json
    plane = read_report(path, f"plane/{LABEL}-random-plane")
    assert plane.y.values[3] == 0
    np.testing.assert_array_equal(plane.x, view["alpha"])
    for loss, own in view["frozen"].items():
        np.testing.assert_allclose(
            plane.frozen.sel(loss=loss, y=0), own["values"], rtol=1e-4, atol=1e-9
        )
        whole = answer["views"]["random-plane"]["frozen"][loss]
        assert whole["least"] == plane.frozen.sel(loss=loss).min()
        assert whole["largest"] == plane.frozen.sel(loss=loss).max()
    assert answer["views"]["random-plane"]["points"]["B"] == {"x": 1, "y": 0, "distance": 0}


def test_a_plane_of_three_has_them_in_it_at_their_true_distances(cli):
    a, b, c = (
        np.concatenate([x.ravel() for n, x in sorted(load_file(path).items()) if "encoder" in n])
        for path in (A, B, C)
    )
    ab, ac = (np.linalg.norm((other - a).astype(float)) for other in (b, c))
    answer = cli("landscape", A, B, "--third", C, "--mode", "plane", "--points", 7, *FROZEN)
    assert "off the plane" not in answer.out
    found = cli(
        "landscape", A, B, "--third", C, "--mode", "plane", "--points", 7, *FROZEN, "--json"
    ).json["views"]["plane"]
    points = found["points"]
    assert points["B"]["x"] == found["distance_a_b"] == pytest.approx(ab, rel=1e-6)
    assert np.hypot(points["C"]["x"], points["C"]["y"]) == pytest.approx(ac, rel=1e-6)
    assert points["C"]["distance"] == 0


def test_dynamics_lead_from_one_base_model_to_the_other(cli, tmp_path):
    path = tmp_path / "report.h5"
    bases = [BASES / f"base-seed{seed}.safetensors" for seed in (0, 1)]
    cli("landscape", *bases, "--mode", "dynamics-plane", "--points", 7, "-o", path)
    plane = read_report(path, "plane/base-seed0-to-base-seed1-dynamics-plane").frozen
    for corner, losses in zip((0, 1), losses_of(cli, *bases), strict=True):
        for loss, value in losses.items():
            found = float(plane.sel(loss=loss, x=corner, y=corner))
            assert found == pytest.approx(value, rel=1e-3, abs=1e-9)


def test_threads_and_the_order_of_work_change_no_value(cli, tmp_path):
    groups = []
    for threads in (1, 2):
        path = tmp_path / f"{threads}.h5"
        cli("landscape", A, B, *PLANE, *REFIT, "--threads", threads, "-o", path)
        groups.append(read_report(path, f"plane/{LABEL}-random-plane"))
    made = {f"provenance_{name}": "" for name in ("command", "time")}
    assert groups[0].assign_attrs(made).identical(groups[1].assign_attrs(made))


# The report and the text


def test_the_report_holds_what_is_printed_and_keeps_its_other_groups(cli, tmp_path):
    path = tmp_path / "report.h5"
    cli("landscape", A, B, *LINE, *FROZEN, "-o", path, "--name", "first")
    before = read_report(path, "line/first")
    given = ["--third", C, "--mode", "line", "--points", 7, *REFIT, "--seed", 3]
    answer = cli("landscape", A, B, *given, "-o", path, "--json").json
    assert answer["report"] == str(path)
    group = read_report(path, f"line/{LABEL}")
    view = answer["views"]["line"]
    assert group.alpha.values.tolist() == view["alpha"]
    for kind in ("frozen", "unfrozen"):
        for loss, own in view[kind].items():
            stored = group.sel(dynamics=kind, loss=loss)
            assert stored.value.values.tolist() == own["values"]
            assert float(stored.above_line) == own["above_line"]
    for name, file in zip("abc", (A, B, C), strict=True):
        assert group.attrs[f"checkpoint_{name}"] == str(file)
        assert group.attrs[f"sha256_{name}"] == file_sha256(file)
    assert group.attrs["sha256_dynamics"] == file_sha256(A)
    assert (group.attrs["seed"], group.attrs["domain"]) == (3, "inverse")
    assert group.attrs["provenance_command"].startswith(f"crar-diag landscape {A} ")
    assert read_report(path, "line/first").identical(before)


def test_the_text_has_the_barriers_and_says_what_they_mean(cli):
    answer = cli("landscape", A, B, "--third", C, *PLANE, "--mode", "line,random-plane", *REFIT)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[0] == "line, domain 'inverse':"
    assert lines[2].split()[:2] == ["transition", "frozen"]
    assert float(lines[2].split()[2]) == pytest.approx(losses_of(cli, A)[0]["transition"], rel=1e-3)
    for note in (
        "consecutive_pairs 0.2, q 1",
        "volume, random_pairs and consecutive_pairs do not depend on the dynamics: re-fitting "
        "cannot change them",
        "line: the re-fit converged at 0 of 7 points",
        "random-plane: C lies 15.63 off the plane, shown where it projects to",
    ):
        assert any(line.endswith(note) for line in lines), note
    assert not any("dynamics: those of" in line for line in lines)
    frozen = cli("landscape", A, B, *LINE, *FROZEN).out
    assert "do not depend" not in frozen


def test_progress_goes_to_a_terminal_surface_by_surface(cli, monkeypatch):
    with terminal(monkeypatch, columns=150) as shown:
        cli("landscape", A, B, *LINE, *REFIT, "--json")
        frames = shown().removesuffix("\r\n").split("\r")[1:]
    words = [frame.split("] ")[-1].split("%  ")[1].split(", ")[0] for frame in frames]
    assert words == [
        *(f"frozen line: {done} of 7 points" for done in range(8)),
        *(f"unfrozen line: {done} of 7 points" for done in (0, 7)),
    ]


def test_figures_are_saved_under_the_name_and_beside_it(cli, tmp_path):
    sizes = ["--mode", "line,random-plane", "--points", 7]
    answer = cli("landscape", A, B, *sizes, *FROZEN, "--figure", tmp_path / "x.pdf", "--json").json
    names = ["x.pdf", "x-random-plane.pdf", "x-random-plane-3d.pdf"]
    assert answer["figures"] == [str(tmp_path / name) for name in names]
    for name in names:
        assert (tmp_path / name).read_bytes().startswith(b"%PDF")


# What it would take


def test_a_plan_says_points_and_time_and_writes_nothing(cli, tmp_path):
    given = ["landscape", A, B, "--mode", "line,random-plane", "--points", 9, *REFIT]
    given += ["-o", tmp_path / "r.h5", "--dry-run"]
    plan = cli(*given, "--json").json
    assert [(one["what"], one["count"], one["at_most"]) for one in plan["work"]] == [
        ("line, frozen", 9, False),
        ("line, unfrozen", 9, True),
        ("random-plane, frozen", 81, False),
        ("random-plane, unfrozen", 81, True),
    ]
    assert plan["seconds"] == pytest.approx(sum(one["seconds"] for one in plan["work"]))
    assert plan["memory_bytes"] > 10**8
    assert plan["disk_bytes"] == 2 * 8 * (8 * (9 + 81) + 10 * (9 + 81))
    answer = cli(*given)
    assert (answer.code, answer.err) == (0, "")
    header, *rows, empty, last, note = answer.out.splitlines()
    assert re.split(r" {2,}", header) == ["what", "how much", "left", "time"]
    assert re.split(r" {2,}", rows[3])[:3] == ["random-plane, unfrozen", "81 points", "81"]
    assert "at most" in rows[3]
    assert empty == ""
    assert last.startswith(f"would compute this for '{tmp_path / 'r.h5'}' in at most ")
    assert last.endswith(" of disk")
    assert note == "at most: what gains no more ends before its budget"
    assert list(tmp_path.iterdir()) == []
