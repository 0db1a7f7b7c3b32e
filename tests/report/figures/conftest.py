"""The report by hand, written once."""

from pathlib import Path

import pytest

from crar_diag.report.figures.selection import Report
from tests.report.figures import by_hand


@pytest.fixture(scope="session")
def report_file(tmp_path_factory) -> Path:
    """Not to be written."""
    return by_hand.report(tmp_path_factory.mktemp("figures") / "report.h5")


@pytest.fixture(scope="session")
def report(report_file) -> Report:
    return Report(report_file)
