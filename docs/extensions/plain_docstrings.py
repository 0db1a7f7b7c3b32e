"""Docstrings as they are written here, plain text with a little Markdown, made fit for Sphinx.

Sphinx reads docstrings as reStructuredText, where `||x||`, `5 * x` and `s_{i-1}` would be markup.
So everything but code is escaped; formulas, which are indented between paragraphs, stay as they
are; so do sections of Google's style, for `sphinx.ext.napoleon`.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

_SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):$")
_CODE = re.compile(r"(`+)(.+?)\1", re.DOTALL)
_COLON = "\ue000"  # stands for a colon, and in no docstring
_MARKUP = re.compile(r"[*|\\]|(?<=\w)_(?!\w)")


def escape(text: str) -> str:
    """Return text in which code between backticks alone is markup."""
    pieces, end = [], 0
    for code in _CODE.finditer(text):
        pieces += [_MARKUP.sub(r"\\\g<0>", text[end : code.start()]), f"``{code[2]}``"]
        end = code.end()
        if text[end : end + 1].isalnum():  # as in `x`s, which would not end there
            pieces.append("\\ ")
    return "".join(pieces) + _MARKUP.sub(r"\\\g<0>", text[end:])


def _kinds(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield each line's kind: `text`, `heading`, `formula` or `code`, and the line."""
    section = fence = formula = False
    blank = True
    for line in lines:
        if line.startswith("```") or fence:
            fence ^= line.startswith("```")
            yield "code", line
            continue
        if line.startswith("## "):
            yield "heading", line
            continue
        if line and not line.startswith(" "):
            section, formula = bool(_SECTION.match(line)), False
        elif line and blank and not section:
            formula = True
        blank = not line
        yield "formula" if formula else "text", line


def translate(lines: list[str]) -> list[str]:
    """Return a docstring's lines as reStructuredText."""
    found: list[str] = []
    for kind, pairs in groupby(_kinds(lines), key=lambda pair: pair[0]):
        own = [line for _, line in pairs]
        if kind == "text":
            found += escape("\n".join(own)).split("\n")
        elif kind == "heading":
            found += ["", f".. rubric:: {own[0][3:]}", ""]
        elif kind == "formula":
            found += [".. code-block:: text", "", *own, ""]
        else:
            found += [
                f".. code-block:: {own[0][3:]}",
                "",
                *(f"    {line}" for line in own[1:-1]),
                "",
            ]
    return found


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = translate(lines)
    if what in ("attribute", "data", "property"):  # napoleon would read "type: description"
        lines[:] = [line.replace(":", _COLON) for line in lines]


def _restore(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def setup(app: Sphinx) -> dict[str, bool]:
    """Translate before napoleon, whose priority is 500, reads the sections."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    app.connect("autodoc-process-docstring", _restore, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
