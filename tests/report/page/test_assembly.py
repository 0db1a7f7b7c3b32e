"""The page as a file: whole or not at all, by itself, and no text of a report in it is markup."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from crar_diag.errors import InputError
from crar_diag.report.figures.selection import Report
from crar_diag.report.page.assembly import page_of, write_page
from crar_diag.report.page.place import check_page_place
from crar_diag.report.store import add_to_report
from tests.report.figures import by_hand
from tests.report.labelled import MADE, sample
from tests.report.page import hand


class Reader(HTMLParser):
    """Tags with their attributes, the text of scripts, and of all else."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._within = tag

    def handle_endtag(self, tag):
        self._within = ""

    def handle_data(self, data):
        (self.scripts if self._within == "script" else self.texts).append(data)


@pytest.fixture(scope="module")
def read(page_path):
    return Reader(page_path.read_text(encoding="utf-8"))


def test_the_data_of_a_page_are_the_reports(read):
    data = json.loads(read.scripts[0])
    line = hand.moving_line()
    (own, old) = data["lines"]
    assert own["embedding"][3][7] == pytest.approx(line.embedding.values[3, 7].tolist(), rel=1e-5)
    assert "embedding" not in old
    assert old["note"].endswith("--mode line -o REPORT")
    transfers = data["outcomes"]["transfers"]
    assert [one["name"] for one in transfers] == list(hand.NAMES)
    assert [one["success"] for one in transfers] == list(hand.SUCCESS)
    assert transfers[5]["distance"] is None
    assert transfers[5]["base_states"] is None
    assert set(data["outcomes"]["bases"]) == {"moved/good", "moved/poor"}


def test_names_are_text_in_markup_and_in_scripts(read):
    assert len(read.scripts) == 3
    assert "img" not in {tag for tag, _ in read.tags}
    assert hand.HOSTILE in read.texts  # a cell of a table
    assert "a & <b>.h5" in read.texts


def test_only_the_pages_own_scripts_may_run_and_nothing_may_be_asked_for(read):
    (policy,) = [
        attrs["content"] for tag, attrs in read.tags if attrs.get("http-equiv") is not None
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digests = [hashlib.sha256(text.encode()).digest() for text in read.scripts[1:]]
    assert rules["script-src"].split() == [
        f"'sha256-{base64.b64encode(one).decode()}'" for one in digests
    ]
    assert rules["default-src"] == "'none'"
    assert "connect-src" not in rules
    for tag, attrs in read.tags:
        for name in ("src", "href"):
            assert re.match(r"#|data:", attrs.get(name, "#")), tag


def test_equal_reports_are_equal_pages(report_path):
    assert page_of(Report(report_path)) == page_of(Report(report_path))


def test_a_report_with_something_for_every_figure_has_a_page(tmp_path):
    path = by_hand.report(tmp_path / "r.h5")
    data = json.loads(Reader(page_of(Report(path))).scripts[0])
    assert [one["name"] for one in data["lines"]] == ["a-to-b", "c-to-d"]
    names = [one["name"] for one in data["surfaces"]]
    assert names == ["a-to-b-dynamics-plane", "a-to-b-random-plane"]
    assert data["outcomes"] is None


def test_a_report_with_nothing_to_draw_says_so(tmp_path):
    add_to_report(tmp_path / "r.h5", {"own/data": sample(0)}, MADE)
    write_page(tmp_path / "r.h5", tmp_path / "p.html")
    found = Reader((tmp_path / "p.html").read_text(encoding="utf-8"))
    assert any("holds nothing that a page draws" in text for text in found.texts)
    assert not [attrs for tag, attrs in found.tags if tag == "select"]


def test_a_page_that_cannot_be_made_leaves_the_old_one(tmp_path):
    (tmp_path / "p.html").write_text("old")
    (tmp_path / "r.h5").write_text("no report")
    with pytest.raises(InputError, match="expected an HDF5 file"):
        write_page(tmp_path / "r.h5", tmp_path / "p.html")
    assert (tmp_path / "p.html").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("p.pdf", r"expected a name that ends in .html or .htm, found '.pdf'"),
        ("p", r"found ''"),
        ("no/p.html", r"there is no folder '.*no'"),
        ("folder.html", r"expected a file or a new name, found a folder"),
    ],
)
def test_a_place_that_takes_no_page_is_refused(tmp_path, name, sentence):
    (tmp_path / "folder.html").mkdir()
    with pytest.raises(InputError, match=sentence):
        check_page_place(tmp_path / name)
