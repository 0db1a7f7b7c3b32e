"""A page of a report: data, scripts and looks in one HTML file that asks nothing of any network.

Plotly.js is embedded whole. A Content-Security-Policy allows the page's own scripts, by their
hashes, and no request: were a name from a file taken for markup after all, no browser would run it.
"""

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Final

from plotly.offline import get_plotlyjs

from crar_diag.agent.storage import write_atomically
from crar_diag.report.embedding import ACTION_GREYS, SIDE_COLOURS
from crar_diag.report.figures.selection import Report
from crar_diag.report.kinds import KIND_COLOURS
from crar_diag.report.line_panel import CURVES
from crar_diag.report.page.encoding import as_script, escape
from crar_diag.report.page.line import lines_data
from crar_diag.report.page.markup import (
    groups_markup,
    navigation_markup,
    tables_markup,
    tiles_markup,
)
from crar_diag.report.page.outcomes import outcomes_data
from crar_diag.report.page.place import check_page_place
from crar_diag.report.page.surfaces import surfaces_data
from crar_diag.report.page.tables import tables_of_report
from crar_diag.report.page.words import SYMBOLS
from crar_diag.report.store import report_groups
from crar_diag.report.style import LOSS_COLOURS, LOSS_LABELS
from crar_diag.version import __version__

_SCRIPTS: Final = ("page", "surfaces", "line", "outcomes", "end")
_SECTIONS: Final = {
    "surfaces": "Loss surfaces",
    "line": "The line",
    "outcomes": "Outcomes",
    "tables": "Tables",
}
_EMPTY: Final = (
    '<section><p class="note">This report holds nothing that a page draws: gather runs by crar-diag'
    " report RUN... -o REPORT, draw landscapes by crar-diag landscape CKPT_A CKPT_B -o REPORT."
    "</p></section>"
)
# Plotly's crosses: on the diagonals, both, upright; as in the figures.
_SIDE_SYMBOLS: Final = ("x-thin", "asterisk", "cross-thin")


def write_page(report: str | Path, path: str | Path) -> int:
    """Write the page of a report; all or nothing.

    Args:
        report: the file, from which alone the page is drawn.
        path: the page; its name ends in `.html`.

    Returns:
        Its size, bytes.

    Raises:
        InputError: as `check_page_place`, or the report is not whole.
        StorageError: the file system refused.
    """
    check_page_place(path)
    data = page_of(Report(report)).encode()
    write_atomically(path, data)
    return len(data)


def page_of(report: Report) -> str:
    """Return the page of a report; of equal reports under one name, the same one."""
    labels = {name: _plain(label) for name, label in LOSS_LABELS.items()}
    data = {
        "labels": labels,
        "colours": _colours(),
        "surfaces": surfaces_data(report, labels),
        "lines": lines_data(report),
        "outcomes": outcomes_data(report),
    }
    tables = tables_of_report(report)
    present = {
        "surfaces": bool(data["surfaces"]),
        "line": bool(data["lines"]),
        "outcomes": bool(data["outcomes"]),
        "tables": bool(tables),
    }
    shown = {key: name for key, name in _SECTIONS.items() if present[key]}
    sections = [
        tables_markup(tables) if key == "tables" else _asset(f"{key}.html") for key in shown
    ]
    script = "(() => {\n" + "\n".join(_asset(f"{name}.js") for name in _SCRIPTS) + "})();"
    plotly = get_plotlyjs()
    return Template(_asset("page.html")).substitute(
        policy=_policy(plotly, script),
        version=escape(__version__),
        title=escape(report.path.name),
        style=_asset("page.css"),
        tiles=tiles_markup(_tiles(report, data)),
        navigation=navigation_markup(shown),
        sections="\n".join(sections) or _EMPTY,
        groups=groups_markup(report_groups(report.path)),
        data=as_script(data),
        plotly=plotly,
        script=script,
    )


def _plain(label: str) -> str:
    """Return a figure's label of a loss without its symbol, as `transition loss`."""
    words, symbol, _ = label.partition(" $")
    return f"{words} loss" if symbol else words


def _asset(name: str) -> str:
    return files("crar_diag.report.page").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(*scripts: str) -> str:
    """Return a policy that lets these scripts run and nothing be requested."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()) for text in scripts)
    allowed = " ".join(f"'sha256-{digest.decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _colours() -> dict[str, Any]:
    """Return the colours and symbols that figures have, for the scripts."""
    return {
        "losses": LOSS_COLOURS,
        "dynamics": {name: style["color"] for name, style in CURVES.items()},
        "actions": [f"rgb({', '.join([str(round(255 * float(g)))] * 3)})" for g in ACTION_GREYS],
        "sides": [
            {"name": name, "colour": colour, "symbol": symbol}
            for name, colour, symbol in zip(
                ("left room", "door", "right room"), SIDE_COLOURS, _SIDE_SYMBOLS, strict=True
            )
        ],
        "kinds": {
            kind: {"colour": colour, "symbol": SYMBOLS[kind]}
            for kind, colour in KIND_COLOURS.items()
        },
    }


def _tiles(report: Report, data: dict[str, Any]) -> dict[str, str]:
    """Return how much of what a report holds."""
    found: dict[str, str] = {}
    if report.runs:
        found["runs"] = str(len(report.runs))
    if data["outcomes"]:
        transfers = data["outcomes"]["transfers"]
        found["transfers"] = f"{len(transfers):,}"
        found["successes"] = f"{sum(one['success'] for one in transfers):,}"
    counts = {
        "lines": len(data["lines"]),
        "planes": len(data["surfaces"]),
        "paths": len(report.matching("path/*")),
        "curvatures": len(report.matching("hessian/*")),
    }
    return found | {name: str(count) for name, count in counts.items() if count}
