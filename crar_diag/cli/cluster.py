"""`crar-diag cluster`: what became of transfers, and which of them succeeded."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common, places

if TYPE_CHECKING:
    from crar_diag.report.transfers import TransferStudy

EXAMPLE = (
    "Example: [bold]crar-diag cluster runs/transfer -o report.h5[/bold], or of several runs "
    "together: [bold]crar-diag cluster runs/original runs/realigned[/bold]"
)


def command(
    paths: Annotated[
        list[Path], typer.Argument(help="Run folders of transfers, or checkpoints of some.")
    ],
    output: common.ReportOption = None,
    seed: common.ResamplingSeedOption = 0,
    as_json: common.JsonOption = False,
) -> None:
    """Sort transfers by how they ended: kinds of outcome, success and failure, statistics.

    Success is found from the data: a mixture model on the distance to the base's embedding and the
    transition loss, with its number of components chosen by BIC. Where the dynamics trained along
    (finetune, scratch) the distance to the base is the wrong measure, and losses and score decide.
    """
    from crar_diag.report.transfers import study_transfers

    if output is not None:
        places.check_report_place(output)
    folders = [path for path in paths if places.is_folder(path)]
    files = [path for path in paths if not places.is_folder(path)]
    study = study_transfers(folders, files, seed)
    if output is not None:
        places.add_to_report(output, study.groups(), seed)
    if as_json:
        common.print_json(_as_json(study, output))
        return
    _print(study)
    if output is not None:
        typer.echo(f"written to '{output}'")


def _rows(study: "TransferStudy") -> list[dict[str, Any]]:
    """Return the numbers of every condition and base."""
    rates, kinds = study.statistics["rates"], study.statistics["kinds"]
    found = []
    for c, condition in enumerate(rates.condition.values):
        for b, base in enumerate(rates.base.values):
            runs = int(rates.runs[c, b])
            if runs:
                counts = {
                    str(kind): int(n)
                    for kind, n in zip(kinds.kind.values, kinds["count"].values[c, b], strict=True)
                    if n
                }
                found.append(
                    {
                        "condition": str(condition),
                        "base": str(base),
                        "successes": int(rates.successes[c, b]),
                        "runs": runs,
                        "rate": float(rates.rate[c, b]),
                        "interval": [float(rates.low[c, b]), float(rates.high[c, b])],
                        "kinds": counts,
                    }
                )
    return found


def _summaries(study: "TransferStudy") -> list[dict[str, Any]]:
    """Return the numbers of every condition."""
    rates, effect = study.statistics["rates"], study.statistics["base_effect"]
    detection, variance = study.statistics["detection"], study.statistics["variance"]
    scores = study.statistics["scores"].sel(summary="interquartile_mean")
    return [
        {
            "condition": str(condition),
            "mean_rate": float(rates.mean_rate[c]),
            "interval": [float(rates.mean_low[c]), float(rates.mean_high[c])],
            "base_effect": {
                "test": str(effect.test.values[c]),
                "p": float(effect.p_value[c]),
                "reason": str(effect.reason.values[c]),
            },
            "variance_share_of_base": {
                str(measure): float(variance.share.sel(source="base").values[c, m])
                for m, measure in enumerate(variance.measure.values)
            },
            "detection_area": float(detection.area[c]),
            "detection_interval": [float(detection.low[c]), float(detection.high[c])],
            "score": {
                "interquartile_mean": float(scores.value[c]),
                "interval": [float(scores.low[c]), float(scores.high[c])],
            },
        }
        for c, condition in enumerate(rates.condition.values)
    ]


def _comparisons(study: "TransferStudy") -> list[dict[str, Any]]:
    """Return every two conditions that can be compared."""
    from crar_diag.report.condition_comparisons import pairs

    return [vars(pair) for pair in pairs(study.statistics["comparisons"])]


def _as_json(study: "TransferStudy", output: Path | None) -> dict[str, Any]:
    transfers = [
        {
            "transfer": str(name),
            "kind": str(kind),
            "distance": float(distance),
            "group": int(group),
            "success": bool(success),
        }
        for name, kind, distance, group, success in zip(
            study.finals.transfer.values,
            study.finals.kind.values,
            study.finals.distance.values,
            study.judged.group,
            study.judged.success,
            strict=True,
        )
    ]
    judgements = [
        {
            "environment": one.environment,
            "unfrozen": one.unfrozen,
            "measures": list(one.measures),
            "sizes": list(one.sizes),
            "medians": list(one.medians),
            "ordered_by": one.by,
            "reason": one.reason,
        }
        for one in study.judged.judgements
    ]
    return {
        "judgements": judgements,
        "conditions": _summaries(study),
        "bases": _rows(study),
        "comparisons": _comparisons(study),
        "restarts": {
            run: {
                str(base): {
                    name: found[name].sel(base=base).values.tolist()
                    for name in ("rate", "low", "high", "alone")
                }
                for base in found.base.values
            }
            for run, found in study.restarts.items()
        },
        "transfers": transfers,
        "report": None if output is None else str(output),
    }


def _print(study: "TransferStudy") -> None:
    for one in study.judged.judgements:
        which = "dynamics trained along" if one.unfrozen else "dynamics frozen"
        typer.echo(
            f"{one.environment}, {which}: {sum(one.sizes)} transfers in groups of "
            f"{', '.join(map(str, one.sizes)) or 'none'}"
        )
        typer.echo(f"  by {' and '.join(one.measures)}: {one.reason}")
        if one.unfrozen:
            typer.echo(
                "  their embedding may have moved with the dynamics: losses and score count, not "
                "the distance to the base"
            )
    typer.echo()
    common.print_table(
        ["condition", "base", "success", "rate", "95% interval", "kinds"],
        [
            [
                row["condition"],
                row["base"] or "-",
                f"{row['successes']} of {row['runs']}",
                f"{row['rate']:.2f}",
                common.interval(row["interval"]),
                ", ".join(f"{n} {kind}" for kind, n in row["kinds"].items()),
            ]
            for row in _rows(study)
        ],
    )
    typer.echo()
    common.print_table(
        ["condition", "mean rate", "over bases", "base effect", "share of base", "loss tells"],
        [
            [
                one["condition"],
                f"{one['mean_rate']:.2f}",
                common.interval(one["interval"]),
                _effect(one["base_effect"]),
                common.number(one["variance_share_of_base"]["success"]),
                common.number(one["detection_area"]),
            ]
            for one in _summaries(study)
        ],
    )
    _print_comparisons(_comparisons(study))
    for run, found in study.restarts.items():
        typer.echo(
            f"\n{run}: success of the best of K restarts by transition loss, and of each alone"
        )
        common.print_table(
            ["base", *(f"K = {k}" for k in found.restarts.values), "each alone"],
            [
                [
                    str(base),
                    *(f"{rate:.2f}" for rate in found.rate.sel(base=base).values),
                    ", ".join(f"{rate:.2f}" for rate in found.alone.sel(base=base).values),
                ]
                for base in found.base.values
            ],
        )


def _print_comparisons(found: list[dict[str, Any]]) -> None:
    if not found:
        return
    typer.echo("\nconditions compared on the base models that both have, with 95% intervals:")
    common.print_table(
        ["condition", "than", "bases", "rate difference", "", "P(higher score)", ""],
        [
            [
                one["condition"],
                one["than"],
                f"{one['bases']}",
                common.number(one["difference"], "+.2f"),
                common.interval(one["difference_interval"]),
                common.number(one["improvement"]),
                common.interval(one["improvement_interval"]),
            ]
            for one in found
        ],
    )


def _effect(effect: dict[str, Any]) -> str:
    return "-" if effect["p"] != effect["p"] else f"p = {effect['p']:.2g} ({effect['test']})"
