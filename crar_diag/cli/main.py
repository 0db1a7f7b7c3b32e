"""The entry point: gathers the commands and turns errors into one sentence and an exit code."""

import sys
from typing import NoReturn

import typer

from crar_diag.cli import evaluate, info, train
from crar_diag.errors import CrarDiagError
from crar_diag.version import __version__

app = typer.Typer(
    name="crar-diag",
    help="Train CRAR agents, transfer them, and find out why some transfers fail.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
# The base of all that Typer finds wrong with a command line, under its public name's.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

app.command("train", epilog=train.EXAMPLE)(train.command)
app.command("evaluate", epilog=evaluate.EXAMPLE)(evaluate.command)
app.command("info", epilog=info.EXAMPLE)(info.command)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"crar-diag {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Train CRAR agents, transfer them, and find out why some transfers fail."""


def main() -> None:
    """Run the command line; exit codes: 0 done, 1 failed, 2 wrong usage or input, 130 stopped."""
    try:
        code = app(standalone_mode=False) or 0
        if code == _INTERRUPTED:  # what Typer makes of a KeyboardInterrupt
            _fail("interrupted", code)
        sys.exit(code)
    except CrarDiagError as error:
        _fail(str(error), error.exit_code)
    except _UsageError as error:
        _fail(_sentence(error), 2)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", _INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough; silence Python's own complaint.
        sys.stderr.close()
        sys.exit(0)
    except (OSError, MemoryError, RuntimeError) as error:
        if not _is_systems(error):
            raise
        _fail(" ".join(str(error).split()) or "not enough memory", 1)


def _fail(sentence: str, code: int) -> NoReturn:
    if sentence:
        typer.echo(f"crar-diag: {sentence}", err=True)
    sys.exit(code)


def _sentence(error: Exception) -> str:
    """Return what Typer says of a wrong command line as one sentence."""
    text = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    text = text[:1].lower() + text[1:].removesuffix(".")
    return text.replace(": Input should be ", ": expected ") and text


def _is_systems(error: Exception) -> bool:
    """Tell the system's refusals (files, memory) from our own mistakes."""
    if not isinstance(error, RuntimeError):
        return True
    # PyTorch: its own class on an accelerator, a bare RuntimeError on the CPU.
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
