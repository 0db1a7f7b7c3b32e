"""The report by hand and its page, written once."""

from pathlib import Path

import pytest

from crar_diag.report.page.assembly import write_page
from tests.report.page import hand


@pytest.fixture(scope="session")
def report_path(tmp_path_factory) -> Path:
    """Not to be written."""
    return hand.report(tmp_path_factory.mktemp("page") / "a & <b>.h5")


@pytest.fixture(scope="session")
def page_path(report_path) -> Path:
    path = report_path.with_name("page.html")
    write_page(report_path, path)
    return path
