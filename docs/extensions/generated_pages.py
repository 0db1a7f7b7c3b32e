"""What the documentation takes from the code: the commands' help, and each package's modules.

A page says where, by a comment alone on its line: `<!-- commands -->`, or, of a package,
`<!-- modules of crar_diag.agent -->`. Links to Markdown files outside the documentation, which MyST
would look for among its pages, become links to the files; one that is not there is a warning.
"""

import pkgutil
import re
from importlib import import_module

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_MODULES = re.compile(r"^<!-- modules of ([\w.]+) -->$", re.MULTILINE)
_COMMANDS = re.compile(r"^<!-- commands -->$", re.MULTILINE)
_OUTSIDE = re.compile(r"\]\((\.\./[^)#]+\.md)\)")
# Help is written for a terminal: what is bold there is a command line.
_BOLD = re.compile(r"\[bold\](.+?)\[/bold\]", re.DOTALL)


def commands() -> str:
    """Return what `--help` says of every command, as Markdown."""
    from typer import Context
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from crar_diag.cli.main import app

    command = get_command(app)
    context = Context(command, info_name="crar-diag")
    text = get_docs_for_click(obj=command, ctx=context, name="crar-diag")
    return _BOLD.sub(r"`\1`", text.split("\n", 1)[1])  # the page has a title of its own


def modules(package: str) -> str:
    """Return a section for each module of a package, its subpackages' among them."""
    path = import_module(package).__path__
    names = sorted(
        module.name
        for module in pkgutil.walk_packages(path, f"{package}.")
        if not module.ispkg and not module.name.rpartition(".")[2].startswith("_")
    )
    if not names:
        raise ExtensionError(f"package {package} has no modules")
    return "\n\n".join(
        f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n```" for name in names
    )


def _fill(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = _COMMANDS.sub(lambda _: commands(), source[0])
    source[0] = _MODULES.sub(lambda match: modules(match[1]), source[0])
    source[0] = _OUTSIDE.sub(r"](path:\1)", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill pages as they are read."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
