"""Facts that the documentation states, and links outside of what `make docs` builds and checks."""

import re
import sys
from pathlib import Path

import h5py
import pytest

from crar_diag.cli.main import app
from crar_diag.envs.domains import domain_names
from crar_diag.report.store import describe_report
from tests.cli.landscapes import A, B
from tests.runs import BASES

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "extensions"))
OUTSIDE = [ROOT / "README.md", ROOT / "CHANGELOG.md", BASES / "README.md"]
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(#[^)]*)?\)")


def anchor(heading: str) -> str:
    """Return a heading's anchor as GitHub has it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", OUTSIDE, ids=lambda page: page.name)
def test_links_of_pages_outside_the_build_lead_to_files_and_headings(page):
    for target, fragment in LINK.findall(page.read_text()):
        file = page.parent / target if target else page
        assert file.exists(), target
        if fragment:
            headings = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert fragment[1:] in map(anchor, headings), target + fragment


def test_the_readme_names_commands_that_there_are_and_the_first_page_every_example():
    readme, first = (ROOT / "README.md").read_text(), (ROOT / "docs" / "index.md").read_text()
    named = set(re.findall(r"^    crar-diag ([\w-]+)", readme, re.MULTILINE))
    assert {"train", "landscape"} <= named
    assert named <= {command.name for command in app.registered_commands}
    for script in (ROOT / "examples").glob("*.py"):
        assert f"(../examples/{script.name})" in first, script.name


def stated(page: str, group: str) -> dict[str, tuple[list[str], str]]:
    """Return what the page says of a group: name -> dimensions and units."""
    section = page.split(f"### `{group}`\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| .+ \|$", section, re.MULTILINE)
    return {
        name: ([] if over == "nothing" else over.split(", "), unit) for name, over, unit in rows
    }


def held(file: Path, group: str) -> dict[str, tuple[list[str], str]]:
    """Return the same of a report."""
    variables = describe_report(file)["groups"][group]["variables"]
    return {
        name: (list(variable["dims"]), variable["units"])
        for name, variable in variables.items()
        if not variable["coordinate"]
    }


def test_lines_and_planes_of_a_report_are_what_the_page_of_formats_says(tmp_path):
    report = tmp_path / "report.h5"
    both = ["--mode", "line,random-plane", "--points", 7, "--unfrozen-points", 7]
    options = [*both, "--refit-iterations", 1, "--name", "ab", "-o", report]
    app([*map(str, ["landscape", A, B, *options])], standalone_mode=False)
    page = (ROOT / "docs" / "file-formats.md").read_text()
    assert stated(page, "/line/<name>") == held(report, "line/ab")
    assert stated(page, "/plane/<name>") == held(report, "plane/ab-random-plane")
    with h5py.File(report) as file:
        assert file.attrs["kind"] == "crar-diag report"
        assert file["line/ab/converged"].attrs["dtype"] == "bool"


def test_curvature_and_path_in_a_report_are_what_the_page_of_formats_says(tmp_path):
    report = tmp_path / "report.h5"
    few = ["--probes", 2, "--steps", 4, "--density-probes", 1, "--eigenvalues", 1]
    given = [["curvature", A, *few], ["path", A, B, "--iterations", 1, "--points", 5]]
    for arguments in given:
        app([*map(str, [*arguments, "--name", "ab", "-o", report])], standalone_mode=False)
    page = (ROOT / "docs" / "file-formats.md").read_text()
    assert stated(page, "/hessian/<name>") == held(report, "hessian/ab")
    assert stated(page, "/path/<name>") == held(report, "path/ab")


def test_the_commands_page_has_every_option_of_every_command():
    from generated_pages import commands

    text = commands()
    assert "[bold]" not in text
    for command in app.registered_commands:
        assert f"## `crar-diag {command.name}`" in text
    assert f"Visual domain: {', '.join(domain_names()[:-1])} or {domain_names()[-1]}." in text
    assert "`--unfrozen-points <int>`: The same for planes with unfrozen dynamics." in text


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("exp(-C_d ||x - y||), s_{i-1}", r"exp(-C_d \|\|x - y\|\|), s\_{i-1}"),
        ("`a*b` and 5 * x", r"``a*b`` and 5 \* x"),
        ("Many `x`s.", r"Many ``x``\ s."),
    ],
)
def test_signs_in_docstrings_are_no_markup(docstring, expected):
    from plain_docstrings import escape

    assert escape(docstring) == expected


def test_formulas_in_docstrings_stay_and_sections_are_left_alone():
    from plain_docstrings import translate

    lines = [
        "The dip:",
        "",
        "    sup_x |F - G|",
        "",
        "Args:",
        "    x: a * b.",
        "",
        "## Rewards",
        "0.",
    ]
    assert translate(lines) == [
        *["The dip:", "", ".. code-block:: text", "", "    sup_x |F - G|", "", ""],
        *["Args:", r"    x: a \* b.", "", "", ".. rubric:: Rewards", "", "0."],
    ]


def test_equations_are_mathml_and_what_cannot_be_one_is_an_error():
    from mathml import mathml
    from sphinx.errors import ExtensionError

    found = re.sub(r"\s", "", mathml("x_1", inline=True))
    assert found.endswith("<msub><mi>x</mi><mn>1</mn></msub></math>")
    with pytest.raises(ExtensionError, match="Unknown LaTeX command"):
        mathml(r"\unheard", inline=False)
