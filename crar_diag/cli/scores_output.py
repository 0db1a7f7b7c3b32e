"""What `crar-diag scores` prints of the runs that it has judged."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from crar_diag.cli import common

if TYPE_CHECKING:
    import xarray as xr

    from crar_diag.report.score_study import ScoreStudy

_KEYS = ("approach", "learning_rate", "base", "seed")
_COUNTS = ("runs", "complete", "successes", "failures", "unfinished")
_SUMMARIES = ("mean", "median", "interquartile_mean")
_RESULTS = ["runs", "success", "failure", "unfinished", "rate", "95% interval"]
_RESULTS += ["mean score", "95% interval", "interquartile mean", "95% interval"]


def show(study: "ScoreStudy", as_json: bool, output: Path | None, figures: list[Path]) -> None:
    """Print the outcome of every run, the tables and the base's effect; where they are."""
    if as_json:
        common.print_json(_as_json(study, output, figures))
        return
    _print(study)
    if output is not None:
        typer.echo(f"written to '{output}'")
    for path in figures:
        typer.echo(f"figure in '{path}'")


def _print(study: "ScoreStudy") -> None:
    found = study.outcomes
    runs = _runs(study)
    several = "s" if len(runs) > 1 else ""
    typer.echo(f"{len(runs)} run{several}; score: mean of the last {found.last} epochs")
    typer.echo(found.reason)
    if (bands := found.bands) is not None:
        typer.echo(
            f"success: {bands.success_from:.2f} or more (median {bands.success:.2f}); failure: "
            f"{bands.failure_to:.2f} or less (median {bands.failure:.2f}); between: unfinished"
        )
    typer.echo("")
    common.print_table(
        [*map(_words, _KEYS), "epochs", "score", "outcome"],
        [
            [
                *_key_cells(run, _KEYS),
                f"{run['scored_epochs']} of {run['expected_epochs']}",
                common.number(run["score"]),
                f"{run['outcome']} ({run['why']})" if run["why"] else run["outcome"],
            ]
            for run in runs
        ],
    )
    for name, table in study.tables.items():
        keys = [key for key in _KEYS if key in table.coords]
        rows = _rows(table)
        if name == "seed" and all(row["runs"] == 1 for row in rows):
            continue  # each is a line of the first table
        cells = [[*_key_cells(row, keys), *_results(row, found.bands is not None)] for row in rows]
        typer.echo(f"\nby {_words(name)}:")
        common.print_table([*map(_words, keys), *_RESULTS], cells)
    typer.echo("")
    for line in [*map(_effect, _effects(study.effects)), *study.notes()]:
        typer.echo(line)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _key_cells(values: dict[str, Any], keys: Any) -> list[str]:
    return [
        f"{values[key]:g}" if key == "learning_rate" else str(values[key]) or "-" for key in keys
    ]


def _results(row: dict[str, Any], decided: bool) -> list[str]:
    counts = [f"{row['successes']} of {row['complete']}", str(row["failures"])]
    cells = [str(row["runs"]), *(counts if decided else "--"), str(row["unfinished"])]
    cells += [common.number(row["rate"]), common.interval(row["interval"])]
    for name in ("mean", "interquartile_mean"):
        cells += [common.number(row[name]), common.interval(row[f"{name}_interval"])]
    return cells


def _effect(one: dict[str, Any]) -> str:
    found = f"undecidable, {one['reason']}"
    if np.isfinite(one["p"]):
        found = f"p = {one['p']:.2g} ({one['test']})"
    shares = [
        f"{common.number(part['share'])} ({common.interval(part['interval'])}) of the variance of "
        f"{measure}"
        for measure, part in one["share_of_variance"].items()
        if np.isfinite(part["share"])
    ]
    return "; ".join([f"{one['condition']}: effect of the base model: {found}", *shares])


def _as_json(study: "ScoreStudy", output: Path | None, figures: list[Path]) -> dict[str, Any]:
    found = study.outcomes
    return {
        "runs": _runs(study),
        "last_epochs": found.last,
        "groups": {
            "sizes": [] if found.groups is None else _sizes(found.groups.labels),
            "reason": found.reason,
            "bands": None if found.bands is None else vars(found.bands),
        },
        "tables": {name: _rows(table) for name, table in study.tables.items()},
        "base_effect": _effects(study.effects),
        "notes": study.notes(),
        "report": None if output is None else str(output),
        "figures": [str(path) for path in figures],
    }


def _sizes(labels: Any) -> list[int]:
    return [int((labels == group).sum()) for group in range(int(labels.max()) + 1)]


def _runs(study: "ScoreStudy") -> list[dict[str, Any]]:
    """Return what each run is, scored and became."""
    history, found = study.history, study.outcomes
    return [
        {
            **{name: history[name].values[m].item() for name in _KEYS},
            "scored_epochs": int(found.scored[m]),
            "expected_epochs": int(found.expected[m]),
            "score": float(found.score[m]),
            "complete": bool(found.complete[m]),
            "outcome": str(found.outcome[m]),
            "why": str(found.why[m]),
        }
        for m in range(history.sizes["run"])
    ]


def _rows(table: "xr.Dataset") -> list[dict[str, Any]]:
    """Return the rows of a table, intervals as pairs."""
    found = []
    for r in range(table.sizes["row"]):
        row = {str(name): column.values[r].item() for name, column in table.variables.items()}
        one = {str(name): row[str(name)] for name in table.coords}
        one |= {name: row[name] for name in _COUNTS}
        one |= {"rate": row["rate"], "interval": [row["low"], row["high"]]}
        one["interval_kind"] = row["interval"]
        for name in _SUMMARIES:
            one[name] = row[name]
            one[f"{name}_interval"] = [row[f"{name}_low"], row[f"{name}_high"]]
        found.append(one)
    return found


def _effects(effects: "xr.Dataset") -> list[dict[str, Any]]:
    return [
        {
            "condition": str(own.condition.item()),
            "test": str(own.test.item()),
            "p": float(own.p_value),
            "reason": str(own.reason.item()),
            "share_of_variance": {
                str(measure): {
                    "share": float(own.share.sel(measure=measure)),
                    "interval": [
                        float(own.share_low.sel(measure=measure)),
                        float(own.share_high.sel(measure=measure)),
                    ],
                }
                for measure in own.measure.values
            },
        }
        for own in (effects.isel(condition=c) for c in range(effects.sizes["condition"]))
    ]
