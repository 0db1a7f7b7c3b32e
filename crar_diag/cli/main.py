"""The entry point: gathers the commands and turns errors into one sentence and an exit code."""

import sys
from typing import NoReturn

import typer

from crar_diag.cli import (
    cluster,
    curvature,
    evaluate,
    figure,
    import_deer,
    info,
    landscape,
    path,
    predict,
    report,
    reproduce,
    scores,
    train,
    transfer,
)
from crar_diag.errors import CrarDiagError, show
from crar_diag.version import __version__

_INTERRUPTED = 130

# The base of all that Typer finds wrong with a command line; it has no public name.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="crar-diag",
    help="Train CRAR agents, transfer them, and find out why some transfers fail.",
    epilog=train.EXAMPLE,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train", epilog=train.EXAMPLE)(train.command)
app.command("transfer", epilog=transfer.EXAMPLE)(transfer.command)
app.command("cluster", epilog=cluster.EXAMPLE)(cluster.command)
app.command("predict", epilog=predict.EXAMPLE)(predict.command)
app.command("landscape", epilog=landscape.EXAMPLE)(landscape.command)
app.command("curvature", epilog=curvature.EXAMPLE)(curvature.command)
app.command("path", epilog=path.EXAMPLE)(path.command)
app.command("scores", epilog=scores.EXAMPLE)(scores.command)
app.command("report", epilog=report.EXAMPLE)(report.command)
app.command("figure", epilog=figure.EXAMPLE)(figure.command)
app.command("reproduce", epilog=reproduce.EXAMPLE)(reproduce.command)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.command)
app.command("import-deer", epilog=import_deer.EXAMPLE)(import_deer.command)
app.command("info", epilog=info.EXAMPLE)(info.command)


def _print_help(context: typer.Context, value: bool) -> None:
    if value:
        typer.echo(context.get_help(), nl=False)
        raise typer.Exit


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"crar-diag {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
    # Typer 0.29 loads pydantic to find that its own --help was not given before a command's, which
    # would double the time that `crar-diag train --help` takes.
    show_help: bool = typer.Option(
        False, "--help", "-h", callback=_print_help, is_eager=True, help="Show this message."
    ),
) -> None:
    """Train CRAR agents, transfer them, and find out why some transfers fail."""


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 stopped."""
    try:
        code = app(prog_name="crar-diag", standalone_mode=False) or 0
    except CrarDiagError as error:
        _fail(_with_options(error), error.exit_code)
    except _UsageError as error:
        _fail(_sentence(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except (OSError, MemoryError, RuntimeError) as error:
        if not _is_the_systems(error):
            raise
        _fail(" ".join(str(error).split()) or "not enough memory", 1)
    if code == _INTERRUPTED:  # Typer, too, makes this code of a KeyboardInterrupt
        _fail("interrupted", code)
    sys.exit(code)


def _fail(sentence: str, code: int) -> NoReturn:
    if sentence:
        typer.echo(f"crar-diag: {sentence}", err=True)
    sys.exit(code)


def _with_options(error: CrarDiagError) -> str:
    """Return the library's sentence, and what its arguments are called here."""
    options = ["--" + name.replace("_", "-") for name in error.arguments]
    return f"{error} ({', '.join(options)})" if options else str(error)


def _sentence(error: Exception) -> str:
    """Return what Typer says of a wrong command line as one sentence; nothing if it gave help."""
    text = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    text = text[:1].lower() + text[1:].removesuffix(".").replace(": Input", ": input")
    checked = getattr(error.__cause__, "errors", None)  # pydantic's, where Typer asked it
    return f"{text}, found {show(checked()[0]['input'])}" if checked else text


def _is_the_systems(error: Exception) -> bool:
    """Tell what the system refused (a file, memory) from a mistake of this program."""
    if not isinstance(error, RuntimeError):
        return True
    # PyTorch has a class of its own for an accelerator and a bare RuntimeError for the CPU.
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
