"""`crar-diag path` between two shipped transfers, by small budgets."""

import hashlib
import json
import re
import signal

import numpy as np
import pytest
import xarray as xr

from crar_diag.agent.checkpoint import Checkpoint, save
from crar_diag.agent.loading import load_agent
from crar_diag.landscape import connections
from crar_diag.report.provenance import Provenance
from crar_diag.report.store import read_report, report_groups
from tests.cli.conftest import snapshot, terminal
from tests.cli.landscapes import LABEL, A, B, C
from tests.landscape.test_symmetries import ALL, chains_of, shuffled
from tests.runs import BASES, labyrinth_config, save_agent

BUDGET = ["--points", 5, "--iterations", 4, "--bends", 1, "--threads", 1]
SMALL = [*BUDGET, "--refit-iterations", 5]
FROZEN = [*SMALL, "--dynamics", "frozen"]
INVARIANT = ("transition", "reward", "discount", "random_pairs", "consecutive_pairs", "q")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The report of one call, and where its figure is."""
    return tmp_path_factory.mktemp("path")


@pytest.fixture
def answer(cli, found):
    """The answer of one call with both dynamics, a report and a figure; made once."""
    if not hasattr(answer_once, "value"):
        answer_once.value = cli(
            "path", A, B, *SMALL, "-o", found / "r.h5", "--figure", found / "f.pdf", "--json"
        )
    return answer_once.value


def answer_once():
    """Hold the answer, which takes seconds to make."""


def sums(answer, kind="frozen", course="curve"):
    return answer.json["paths"][kind][course]["losses"]["sum"]["values"]


def test_the_ends_of_both_frozen_paths_are_what_evaluate_prints(cli, answer):
    assert (answer.code, answer.err) == (0, "")
    expected = cli("evaluate", A, B, "--json").json["checkpoints"]
    for course in ("straight", "curve"):
        losses = answer.json["paths"]["frozen"][course]["losses"]
        for end, place in ((0, 0), (1, -1)):
            for name, value in expected[end]["losses"].items():
                seen = losses[name]["values"][place]
                assert seen == pytest.approx(value, rel=1e-3, abs=1e-9), (course, name)


def test_barriers_are_the_rise_above_the_worse_end(answer):
    for kind in ("frozen", "unfrozen"):
        for course in ("straight", "curve"):
            for name, loss in answer.json["paths"][kind][course]["losses"].items():
                values = loss["values"]
                ends = max(values[0], values[-1])
                assert loss["highest"] >= max(values) * (1 - 1e-9)
                assert loss["above_ends"] == pytest.approx(
                    loss["highest"] - ends, rel=1e-6, abs=1e-12
                ), (kind, course, name)


def test_the_curve_is_no_higher_than_the_straight_segment(answer):
    for kind in ("frozen", "unfrozen"):
        straight, curve = (
            answer.json["paths"][kind][course]["losses"]["sum"]["highest"]
            for course in ("straight", "curve")
        )
        assert curve < straight


def test_turning_with_the_dynamics_costs_nothing_but_volume(answer):
    together = answer.json["rotation"]["together"]["losses"]
    for name in INVARIANT:
        values = together[name]["values"]
        assert values == pytest.approx([values[0]] * 5, rel=1e-5, abs=1e-9), name
    assert together["volume"]["above_ends"] > 0.01
    alone = answer.json["rotation"]["encoder"]["losses"]["transition"]["values"]
    assert alone[-1] > 100 * alone[0]
    assert answer.json["rotation"]["angle"] == [0, 45, 90, 135, 180]
    numbers = re.fullmatch(
        r"rotation: turning A with its dynamics changes no loss but volume by more than (.*), "
        r"volume rises (.*); turning the encoder alone, the transition loss rises (.*)",
        answer.json["notes"][-1],
    )
    change, volume, rise = map(float, numbers.groups())
    assert 0 <= change < 1e-9
    assert volume == pytest.approx(together["volume"]["above_ends"], rel=1e-3)
    assert rise == pytest.approx(max(alone) - alone[0], rel=1e-3)


def test_the_report_holds_what_was_printed(answer, found):
    group = f"path/{answer.json['report'] and LABEL}"
    dataset = xr.open_dataset(found / "r.h5", group=group, engine="h5netcdf")
    for kind in ("frozen", "unfrozen"):
        for course in ("straight", "curve"):
            own = dataset.value.sel(dynamics=kind, path=course)
            for name, loss in answer.json["paths"][kind][course]["losses"].items():
                np.testing.assert_array_equal(own.sel(loss=name), loss["values"])
    assert dataset.attrs["sha256_a"] == hashlib.sha256(A.read_bytes()).hexdigest()
    assert dataset.attrs["sha256_b"] == hashlib.sha256(B.read_bytes()).hexdigest()
    for name, variable in dataset.variables.items():
        assert variable.attrs.keys() >= {"units", "long_name"}, name
    assert (found / "f.pdf").read_bytes().startswith(b"%PDF")


def test_the_report_says_what_was_compared_and_how(answer, found):
    dataset = read_report(found / "r.h5", f"path/{LABEL}")
    settings = json.loads(dataset.attrs["settings"])
    assert (settings["bends"], settings["iterations"], settings["seed"]) == (1, 4, 0)
    assert dataset.attrs["domain"] == "inverse"
    assert dataset.attrs["dynamics_of"] == str(A)
    assert dataset.embedding.shape == (2, 2, 5, 31, 2)
    made = Provenance.from_attributes(dataset.attrs)
    assert made.command.startswith(f"crar-diag path {A} {B} ")
    for kind in ("frozen", "unfrozen"):
        path = answer.json["paths"][kind]
        own = dataset.sel(dynamics=kind)
        assert (int(own.iterations), bool(own.converged)) == (4, False)
        assert (path["iterations"], path["converged"]) == (4, False)
        for course in ("straight", "curve"):
            np.testing.assert_array_equal(
                own.arc_length.sel(path=course), path[course]["arc_length"]
            )
    refits = answer.json["refits"]
    assert set(refits) == {"a", "b"}
    for end in refits.values():
        assert end["after"] < end["before"]
        assert (end["iterations"], end["converged"]) == (5, False)
    assert dataset.refit_after.values.tolist() == [refits[end]["after"] for end in "ab"]


def test_the_text_says_whether_there_is_a_barrier(cli):
    text = cli("path", A, B, *SMALL, "--dynamics", "frozen").out
    assert "frozen: the lowest curve found rises" in text or "frozen: no barrier" in text
    assert "unfrozen" not in text


def test_frozen_dynamics_can_be_those_of_another(cli):
    """Its transition loss is then another one at the ends; the structure losses stay."""
    base = BASES / "base-seed1.safetensors"
    own, other = (
        cli("path", A, B, *FROZEN, *more, "--json").json for more in ([], ["--dynamics-from", base])
    )
    assert (own["dynamics_of"], other["dynamics_of"]) == (str(A), str(base))
    losses = [one["paths"]["frozen"]["straight"]["losses"] for one in (own, other)]
    assert losses[0]["transition"]["values"][0] != losses[1]["transition"]["values"][0]
    assert losses[0]["volume"] == losses[1]["volume"]
    assert any(f"the frozen ones are those of '{base}'" in note for note in other["notes"])
    assert not any("differ in their dynamics" in note for note in own["notes"])


def test_frozen_dynamics_have_to_be_asked_for_to_be_named(cli):
    answer = cli("path", A, B, *SMALL, "--dynamics", "unfrozen", "--dynamics-from", C)
    assert answer.code == 2
    assert answer.sentence.startswith("--dynamics-from names frozen dynamics: it needs")


def test_weights_decide_what_is_minimised(cli):
    plain, weighted = (
        cli("path", A, B, *FROZEN, *more, "--json").json
        for more in ([], ["--weight", "volume=0", "--weight", "transition=3"])
    )
    assert weighted["weights"] == plain["weights"] | {"volume": 0.0, "transition": 3.0}
    losses = weighted["paths"]["frozen"]["curve"]["losses"]
    total = sum(w * np.array(losses[n]["values"]) for n, w in weighted["weights"].items())
    np.testing.assert_allclose(losses["sum"]["values"], total, rtol=1e-12)


def test_same_seed_same_paths(cli):
    first, again, other = (
        cli("path", A, B, *FROZEN, "--seed", seed, "--json") for seed in (3, 3, 4)
    )
    assert first.json == again.json
    assert sums(first, course="straight") == sums(other, course="straight")
    assert sums(first) != sums(other)


def test_a_network_of_rearranged_units_is_aligned_back(cli, tmp_path):
    """B is A with other hidden units in other places: all between them is A's, once aligned."""
    agent = load_agent(A)
    chains = chains_of(agent.architecture, ALL)
    moved = shuffled(agent.parameters, chains, 0)
    moved["encoder.5.bias"] = moved["encoder.5.bias"] + 0.01
    save(Checkpoint(moved, agent.metadata), tmp_path / "moved.safetensors")
    plain, aligned = (
        cli("path", A, tmp_path / "moved.safetensors", *FROZEN, *more, "--json").json
        for more in ([], ["--align"])
    )
    assert "alignment" not in plain
    assert aligned["alignment"]["distance_before"] > 10
    assert aligned["alignment"]["distance_after"] == pytest.approx(0.01 * 2**0.5, rel=1e-5)
    assert 340 < aligned["alignment"]["moved"] <= aligned["alignment"]["units"] == 360
    straight = [one["paths"]["frozen"]["straight"]["losses"]["sum"] for one in (plain, aligned)]
    assert straight[0]["values"][-1] == pytest.approx(straight[1]["values"][-1], rel=1e-5)
    assert straight[0]["above_ends"] > 0.1
    assert straight[1]["above_ends"] < 0.01
    assert any(note.startswith("B was aligned to A: ") for note in aligned["notes"])


def test_another_angle_can_be_the_last(cli):
    rotation = cli("path", A, B, *FROZEN, "--rotation", 90, "--json").json["rotation"]
    assert rotation["angle"] == [0, 22.5, 45, 67.5, 90]
    values = rotation["together"]["losses"]["volume"]["values"]
    assert values[-1] == pytest.approx(values[0], rel=1e-6)
    assert max(values) == pytest.approx(values[2])
    for angle in (0, -10, 361, "nan"):
        answer = cli("path", A, B, *FROZEN, "--rotation", angle)
        assert answer.code == 2
        assert "an angle above 0 and at most 360 degrees" in answer.sentence
        assert answer.sentence.endswith("(--rotation)")


def test_in_the_labyrinth_paths_are_found_and_nothing_is_turned(cli, labyrinth_run, tmp_path):
    first = labyrinth_run / "base-seed0.safetensors"
    second = save_agent(tmp_path / "second.safetensors", labyrinth_config("0", 5), 1)
    least = ["--points", 2, "--iterations", 1, "--bends", 1, "--transitions", 2]
    answer = cli("path", first, second, *least, "--dynamics", "frozen", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert "rotation" not in answer.json
    assert answer.json["notes"][-1] == ("no rotation: the abstract states are no points of a plane")
    losses = answer.json["paths"]["frozen"]["curve"]["losses"]
    assert losses["sum"]["highest"] >= max(losses["sum"]["values"])
    for option, words in (
        (["--rotation", 180], r"a rotation needs abstract states in the plane.*\(--rotation\)$"),
        (["--align"], r"only networks of dense layers can be aligned.*\(--align\)$"),
    ):
        refused = cli("path", first, second, *least, *option)
        assert refused.code == 2
        assert re.search(words, refused.sentence)


def test_interrupted_it_writes_nothing(cli, tmp_path, monkeypatch):
    really = connections.minimum_loss_curve

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return really(*arguments, **options)

    monkeypatch.setattr(connections, "minimum_loss_curve", interrupted)
    answer = cli("path", A, B, *FROZEN, "-o", tmp_path / "r.h5", "--figure", tmp_path / "f.png")
    assert answer.code == 130
    assert answer.sentence == "interrupted"
    assert snapshot(tmp_path) == {}


def test_progress_counts_iterations_on_a_terminal(cli, monkeypatch):
    with terminal(monkeypatch, columns=150) as shown:
        answer = cli("path", A, B, *FROZEN, "--json")
        frames = shown().removesuffix("\r\n").split("\r")[1:]
    assert answer.code == 0
    counts = [int(re.search(r"(\d+) of 4 iterations", frame)[1]) for frame in frames]
    assert counts == [0, 1, 2, 3, 4]


BASE = BASES / "base-seed0.safetensors"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([A, A], "is the same as"),
        ([A, BASE], "'inverse' and 'normal'"),
        ([A, "nowhere.safetensors"], "does not exist"),
        ([A, B, "--domain", "upside-down"], "upside-down"),
        ([A, B, "--weight", "volumen=2"], "volumen"),
        ([A, B, "--dynamics", "thawed"], "thawed"),
        ([A, B, "--figure", "f.gif"], ".gif"),
        ([A, B, "--name", "a/b", "-o", "new.h5"], "a/b"),
        ([A, B, "-o", "r.h5"], "r.h5"),
        ([A, B, "--points", 1], "1"),
        ([A, B, "--bends", 0], "0"),
        ([A, B, "--dynamics-from", "nowhere.safetensors"], "does not exist"),
        ([A], "CKPT_B"),
    ],
)
def test_wrong_use_is_one_sentence_and_leaves_a_report_as_it_was(
    cli, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.h5").write_bytes(b"not a report")
    before = snapshot(tmp_path)
    wrong = cli("path", *arguments)
    assert wrong.code == 2
    assert words in wrong.sentence
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", ["truncated", "nan", "labyrinth"])
def test_damaged_and_foreign_files_are_refused(cli, files, name):
    answer = cli("path", files / "maze.safetensors", files / f"{name}.safetensors")
    assert answer.code == 2
    assert name in answer.sentence


def test_a_report_keeps_what_else_it_holds(cli, found, answer, tmp_path):
    path = tmp_path / "r.h5"
    path.write_bytes((found / "r.h5").read_bytes())
    before = read_report(path, f"path/{LABEL}")
    assert cli("path", A, B, *FROZEN, "-o", path, "--name", "mine").code == 0
    assert set(report_groups(path)) == {"path/mine", f"path/{LABEL}"}
    xr.testing.assert_identical(read_report(path, f"path/{LABEL}"), before)
    kept = path.read_bytes()
    refused = cli("path", A, A, *FROZEN, "-o", path)
    assert refused.code == 2
    assert path.read_bytes() == kept
