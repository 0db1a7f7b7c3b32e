"""`crar-diag predict`: what can be said of a base model before any transfer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common, places, terminal
from crar_diag.errors import InputError, did_you_mean, show

if TYPE_CHECKING:
    import xarray as xr

EXAMPLE = (
    "Example: [bold]crar-diag predict runs/base --runs runs/transfer -o report.h5[/bold] measures "
    "every base model and says how well each measure foretells its transfers' success; without "
    "[bold]--runs[/bold] it only measures."
)


def command(
    bases: Annotated[list[Path], typer.Argument(help="Base models: checkpoints or run folders.")],
    runs: Annotated[
        list[Path] | None,
        typer.Option("--runs", help="Run folders of their transfers; repeatable."),
    ] = None,
    domain: Annotated[
        str, typer.Option("--domain", help="Visual domain that they are transferred to.")
    ] = "inverse",
    variant: Annotated[
        str, typer.Option("--variant", help="Which variant's transfers count.")
    ] = "original",
    output: common.ReportOption = None,
    seed: common.ResamplingSeedOption = 0,
    as_json: common.JsonOption = False,
) -> None:
    """Measure base models before any transfer, and how well that foretells their success.

    Oddness of the encoder, distance and losses where a transfer starts, losses of the turned and
    mirrored embeddings, gradient norms and curvature. A predictor is one number a base, so bases
    are the sample: it takes some tens of them to show anything.
    """
    from crar_diag.agent.checkpoint import file_sha256
    from crar_diag.agent.loading import load_agents
    from crar_diag.agent.transfer_config import VARIANTS
    from crar_diag.embedding.prediction import measure_base

    if variant not in VARIANTS:
        raise InputError(f"--variant: unknown {show(variant)}{did_you_mean(variant, VARIANTS)}")
    if output is not None and not runs:
        raise InputError("-o needs --runs: without transfers nothing is foretold")
    if output is not None:
        places.check_report_place(output)
    files = places.checkpoint_files(bases)
    agents = load_agents(files)
    labels = _labels(files)
    with terminal.ProgressLine() as line:
        progress = terminal.counting(line, "base models")
        measures = {}
        progress(0, len(agents))
        for label, agent in zip(labels, agents, strict=True):
            measures[label] = measure_base(agent, domain)
            progress(len(measures), len(agents))
    if not runs:
        _print_measures(measures, as_json)
        return
    shas = {file_sha256(file): label for file, label in zip(files, labels, strict=True)}
    found = _foretell(measures, shas, runs, variant, domain, seed)
    if output is not None:
        places.add_to_report(output, {"statistics/prediction": found}, seed)
    _print(found, as_json, output)


def _labels(files: list[Path]) -> list[str]:
    """Return a different name for each file."""
    stems = [file.stem for file in files]
    if len(set(stems)) == len(stems):
        return stems
    return [str(file) for file in files]


def _foretell(
    measures: dict[str, dict[str, float]],
    shas: dict[str, str],
    runs: list[Path],
    variant: str,
    domain: str,
    seed: int,
) -> "xr.Dataset":
    from crar_diag.report.prediction import foretell
    from crar_diag.report.transfers import study_transfers

    study = study_transfers(runs, (), seed)
    for run in study.runs:
        if run.config.domain != domain:
            raise InputError(
                f"run folder '{run.path}' holds transfers to '{run.config.domain}', not to "
                f"'{domain}': give --domain {run.config.domain}"
            )
    finals, success = study.finals, study.judged.success
    counted: dict[str, list[bool]] = {}
    for sha, own, won in zip(
        finals.base_sha256.values, finals.variant.values, success, strict=True
    ):
        if own == variant and str(sha) in shas:
            counted.setdefault(shas[str(sha)], []).append(bool(won))
    rates = {base: sum(won) / len(won) for base, won in counted.items()}
    return foretell(measures, rates, {base: len(won) for base, won in counted.items()}, seed)


def _print_measures(measures: dict[str, dict[str, float]], as_json: bool) -> None:
    if as_json:
        common.print_json({"bases": measures})
        return
    names = next(iter(measures.values()))
    common.print_table(
        ["measure", *measures],
        [[name, *(f"{values[name]:.4g}" for values in measures.values())] for name in names],
    )


def _print(found: "xr.Dataset", as_json: bool, output: Path | None) -> None:
    from crar_diag.report.prediction import conclusion

    order = sorted(range(found.sizes["predictor"]), key=lambda k: -abs(float(found.rho.values[k])))
    columns = ("rho", "rho_low", "rho_high", "tau", "p_value", "p_holm")
    rows: list[dict[str, Any]] = [
        {
            "predictor": str(found.predictor.values[k]),
            **{name: float(found[name].values[k]) for name in columns},
            "verdict": str(found.verdict.values[k]),
        }
        for k in order
    ]
    if as_json:
        common.print_json(
            {
                "bases": {
                    str(base): {"rate": float(rate), "runs": int(count)}
                    for base, rate, count in zip(
                        found.base.values, found.rate.values, found.runs.values, strict=True
                    )
                },
                "predictors": rows,
                "conclusion": conclusion(found),
                "report": None if output is None else str(output),
            }
        )
        return
    common.print_table(
        ["predictor", "rho", "95% interval", "p", "p (Holm)", "verdict"],
        [
            [
                row["predictor"],
                f"{row['rho']:.2f}",
                f"{row['rho_low']:.2f} to {row['rho_high']:.2f}",
                f"{row['p_value']:.2g}",
                f"{row['p_holm']:.2g}",
                row["verdict"],
            ]
            for row in rows
        ],
    )
    typer.echo(conclusion(found))
    if output is not None:
        typer.echo(f"written to '{output}'")
