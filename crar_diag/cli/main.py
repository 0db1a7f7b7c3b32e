"""The entry point: gathers the commands and turns errors into one sentence and an exit code."""

import sys

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
        app()
    except CrarDiagError as error:
        typer.echo(f"crar-diag: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("crar-diag: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe (head, less) has seen enough; silence Python's own complaint.
        sys.stderr.close()
        sys.exit(0)
