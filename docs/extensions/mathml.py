"""Equations as MathML, made at build time: they show offline, without any script."""

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator


def mathml(tex: str, inline: bool) -> str:
    """Return an equation of LaTeX as a MathML element.

    Raises:
        ExtensionError: it has what docutils cannot translate.
    """
    try:
        return latex2mathml.tex2mathml(tex, as_block=not inline)
    except MathError as error:
        raise ExtensionError(f"equation {tex!r}: {error}") from error


def _visit_inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(mathml(node.astext(), inline=True))
    raise nodes.SkipNode


def _visit_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="equation">{mathml(node.astext(), inline=False)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the renderer that `html_math_renderer` names."""
    app.add_html_math_renderer("mathml", (_visit_inline, None), (_visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
