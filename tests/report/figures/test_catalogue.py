"""All figures: each is drawn from a report that has its data, and missed in one that has not.

Which members and groups are drawn is told by `words`, and checked against the report by hand.
"""

import pytest

from crar_diag.errors import InputError
from crar_diag.report.figures.catalogue import ENTRIES, available, entry_of, find
from crar_diag.report.figures.selection import Report
from crar_diag.report.store import add_to_report
from crar_diag.report.style import COLUMN, PAGE, save_figure
from tests.report.labelled import MADE

WORDS = [
    ("3", {"environment": "simple-maze"}),
    ("4", {"environment": "labyrinth", "seed": 0}),
    ("5", {"run": "base", "member": "good", "updates": [5_000, 20_000, 160_000]}),
    (
        "6",
        {
            "run": "moved",
            "member": "original-good-seed0",
            "kind": "identity",
            "updates": [4_000, 21_000, 80_000],
        },
    ),
    (
        "7",
        {
            "run": "moved",
            "member": "original-poor-seed0",
            "kind": "exchange",
            "updates": [4_000, 21_000, 80_000],
        },
    ),
    ("8", {"group": "history/scores"}),
    ("9", {"run": "mazes-moved", "member": ["original-good-seed0", "original-poor-seed0"]}),
    ("10", {"group": "history/scores"}),
    ("11", {"run": "moved", "member": "original-poor-seed0", "kind": "exchange"}),
    ("12", {}),
    (
        "13",
        {"run": ["base", "moved"], "member": ["poor", "original-poor-seed0"], "kind": "exchange"},
    ),
    ("14", {}),
    ("15", {"group": "plane/a-to-b-dynamics-plane", "line": "line/a-to-b", "loss": "sum"}),
    (
        "16",
        {
            "run": ["mazes", "mazes-moved", "mazes-moved"],
            "member": ["good", "original-good-seed0", "original-poor-seed0"],
            "kind": ["identity", "exchange"],
        },
    ),
    ("17", {"run": "moved", "member": "reset-encoder-poor-seed0", "kind": "identity"}),
    ("18", {"group": "history/scores"}),
    ("surfaces", {"group": "plane/a-to-b-random-plane", "loss": "sum"}),
    ("barriers", {"group": ["line/a-to-b", "line/c-to-d"]}),
    ("paths", {"group": "path/a-to-b"}),
    ("spectra", {"group": ["hessian/a", "hessian/b", "hessian/c"]}),
    ("kinds", {"group": "embedding/moved/kinds"}),
    (
        "remedies",
        {
            "group": "embedding/moved/restarts",
            "conditions": ["original, lr 8e-05", "original, lr 8e-05, realign"],
        },
    ),
]
FREE = ("3", "4", "12", "14")


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    path = tmp_path_factory.mktemp("empty") / "report.h5"
    add_to_report(path, {}, MADE)
    return Report(path)


def test_the_papers_figures_and_the_further_ones_are_all_there():
    assert [name for name, _ in WORDS] == list(ENTRIES)
    assert list(ENTRIES)[:16] == [str(number) for number in range(3, 19)]


@pytest.mark.parametrize(("name", "words"), WORDS)
def test_a_figure_is_drawn_of_what_fits_and_saved_with_its_fonts(report, tmp_path, name, words):
    found = find(name, report)
    assert dict(found.words) == words
    figure = found.draw()
    assert figure.get_figwidth() in (COLUMN, PAGE) or name == "paths"
    save_figure(figure, tmp_path / "figure.pdf")
    pdf = (tmp_path / "figure.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # TrueType: what venues call Type 42
    assert b"/Type3" not in pdf
    assert b"/Subtype /Image" not in pdf


@pytest.mark.parametrize("name", list(ENTRIES))
def test_a_report_without_the_data_is_told_the_command_that_makes_them(empty, name):
    if name in FREE:
        assert find(name, None).draw()
        return
    with pytest.raises(
        InputError, match=rf"^figure {name} needs .*: make it by crar-diag "
    ) as told:
        find(name, empty)
    assert "\n" not in str(told.value)
    command = str(told.value).partition("make it by crar-diag ")[2].split()[0]
    assert command in ("report", "landscape", "path", "curvature", "scores", "transfer")
    with pytest.raises(InputError, match=f"figure {name} is drawn from a report: give one"):
        find(name, None)


def test_the_sentence_of_figure_15_names_the_group_and_the_mode(empty):
    with pytest.raises(
        InputError,
        match=r"^figure 15 needs a group /plane/\*-dynamics-plane: make it by crar-diag landscape "
        r"A B --mode dynamics-plane -o report\.h5$",
    ):
        find("15", empty)


def test_what_a_report_allows_is_told_of_every_figure(report, empty):
    assert set(available(report).values()) == {""}
    missing = available(empty)
    assert [name for name, why in missing.items() if not why] == list(FREE)


def test_an_unknown_figure_is_refused():
    for name in ("2", "19", "0", "-3", "3.5", ""):
        with pytest.raises(InputError, match=r"there is no figure .* \(choose from 3 to 18, surf"):
            entry_of(name)
    with pytest.raises(InputError, match=r"no figure 'surface' \(did you mean 'surfaces'\?\)"):
        find("surface", None)
