"""The parts of a page that are markup alone: tables, tiles, the list of groups."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from crar_diag.report.page.encoding import escape
from crar_diag.report.page.tables import Table
from crar_diag.report.provenance import Provenance

OPEN: Final = 3
"""How many tables stand open, if they have few rows; a click opens the others."""
_FEW: Final = 40

_NUMBER: Final = re.compile(r"-?[\d,]*\.?\d+(e[+-]?\d+)?")


def tables_markup(tables: Sequence[Table]) -> str:
    """Return tables that can be opened and closed."""
    parts = ['<section id="tables"><h2>Tables</h2>']
    for k, table in enumerate(tables):
        opened = " open" if k < OPEN and len(table.rows) <= _FEW else ""
        count = f"{len(table.rows)} row{'s' if len(table.rows) > 1 else ''}"
        parts.append(
            f'<details data-group="{escape(table.key)}"{opened}>'
            f"<summary>{escape(table.title)} <span>({count})</span></summary>"
            f'<div class="scroll">{_table(table)}</div>'
        )
        parts.append(f'<p class="note">{escape(table.note)}</p></details>')
    return "\n".join([*parts, "</section>"])


def _table(table: Table) -> str:
    numeric = [_is_numeric([row[k] for row in table.rows]) for k in range(len(table.header))]
    head = "".join(_cell("th", text, n) for text, n in zip(table.header, numeric, strict=True))
    body = "\n".join(
        f"<tr>{''.join(_cell('td', text, n) for text, n in zip(row, numeric, strict=True))}</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _is_numeric(column: Sequence[str]) -> bool:
    filled = [text for text in column if text]
    return bool(filled) and all(_NUMBER.fullmatch(text) for text in filled)


def _cell(tag: str, text: str, numeric: bool) -> str:
    looks = ' class="number"' if numeric else ""
    return f"<{tag}{looks}>{escape(text)}</{tag}>"


def tiles_markup(tiles: Mapping[str, str]) -> str:
    """Return few words and numbers that say what a page is about; for a `<dl>`."""
    return "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>"
        for name, value in tiles.items()
    )


def navigation_markup(sections: Mapping[str, str]) -> str:
    """Return links to sections: identifier -> name."""
    return "".join(f'<a href="#{escape(key)}">{escape(n)}</a>' for key, n in sections.items())


def groups_markup(groups: Mapping[str, Provenance | None]) -> str:
    """Return a table of a report's groups, with the command that made each and when."""
    rows = tuple(
        (
            f"/{name}",
            made.time if made else "unknown",
            made.command if made else "somebody else put it there",
        )
        for name, made in groups.items()
    )
    table = Table("groups", "Groups", ("group", "time (UTC)", "made by"), rows)
    return (
        f"<details><summary>{len(rows)} groups</summary>"
        f'<div class="scroll">{_table(table)}</div></details>'
    )
