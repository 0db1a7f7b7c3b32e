"""`crar-diag scores`: what became of runs by their validation scores, and what decides it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common, comparing, places
from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.report.score_study import ScoreStudy

EXAMPLE = (
    "Example: [bold]crar-diag scores scores.csv -o report.h5 --figure scores.pdf[/bold]; the file "
    "has the columns approach, base_model, seed, learning_rate, epoch, validation_score."
)


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", help="A row an epoch of a run.")],
    last: Annotated[
        int, typer.Option("--last", min=1, help="Epochs that a run's score is averaged over.")
    ] = 20,
    output: common.ReportOption = None,
    figure: comparing.FigureOption = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--number",
            help="Which of the paper's figures: 8, 10 or 18.",
            show_default="all that the data allow",
        ),
    ] = None,
    seed: common.ResamplingSeedOption = 0,
    as_json: common.JsonOption = False,
) -> None:
    """Sort runs by their validation scores: success, failure, unfinished; tables; figures.

    A run's score is the mean of its last epochs. Success and failure are found from the scores by a
    mixture model; runs between the two groups' bands are unfinished, and so are runs that ended
    before the others of their approach and rate, which no rate counts. From one run, or from fewer
    than eight, no groups can be found: outcomes are then undecided.
    """
    from crar_diag.cli.scores_output import show
    from crar_diag.report.score_study import study_scores

    if number is not None and figure is None:
        raise InputError("--number needs --figure, the file to draw in")
    comparing.check_places(output, None, figure)
    study = study_scores(file, last=last, seed=seed)
    drawn = {} if figure is None else _draw(study, number)
    if output is not None:
        places.add_to_report(output, study.groups(), seed)
    figures = [] if figure is None else _save(drawn, figure)
    show(study, as_json, output, figures)


def _draw(study: "ScoreStudy", number: int | None) -> dict[int, Any]:
    """Return the figure that was asked for, or all that the data allow, by number."""
    from crar_diag.report.score_figures import FIGURES, possible_figures

    if number is None:
        return possible_figures(study.history)
    if number not in FIGURES:
        raise InputError(f"--number: expected 8, 10 or 18, found {number}")
    return {number: FIGURES[number](study.history)}


def _save(drawn: dict[int, Any], figure: Path) -> list[Path]:
    """Save a single figure under the name, several beside it, each with its number."""
    from crar_diag.report.style import save_figure

    files = []
    for number, one in drawn.items():
        several = len(drawn) > 1
        files.append(figure.with_stem(f"{figure.stem}-{number}") if several else figure)
        save_figure(one, files[-1])
    return files
