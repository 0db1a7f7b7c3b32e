"""`crar-diag train`: base models, all seeds as one population."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crar_diag.cli import common, running
from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.agent.config import TrainConfig

EXAMPLE = (
    "Example: [bold]crar-diag train --env simple-maze --preset quick --seeds 0:6 --out runs/base"
    "[/bold] trains six agents; [bold]crar-diag train --resume --out runs/base[/bold] goes on "
    "after an interruption."
)


def command(
    out: Annotated[Path, typer.Option("--out", help="Run folder to write.")],
    env: Annotated[
        str | None, typer.Option("--env", help="simple-maze or labyrinth.", show_default=False)
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", help="Half-open ranges and numbers: 0:6, 3, 0,2,5:8.", show_default="0"
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="One seed.")] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="paper (the published protocol) or quick (a short one).",
            show_default="paper",
        ),
    ] = None,
    updates: Annotated[
        int | None, typer.Option("--updates", min=1, help="Updates of each agent.")
    ] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", help="Visual domain: normal, inverse, ...")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="RMSprop's rate at the first epoch.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="TOML file with any configuration keys.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value for any configuration key; repeatable."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and how large; run nothing.")
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            "--tensorboard", help="Also write TensorBoard logs to this folder, one a run."
        ),
    ] = None,
    device: common.DeviceOption = "auto",
    threads: common.ThreadsOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Train base models: one CRAR agent a seed, all together, resumable at any instant.

    Writes a run folder: run.toml, one checkpoint a seed, history.h5.
    """
    from crar_diag.agent.config_sources import build_config

    if seed is not None and seeds is not None:
        raise InputError("--seed and --seeds say the same: give one of them")
    chosen: TrainConfig | None = None
    given = {
        "seeds": str(seed) if seed is not None else seeds,
        "updates": updates,
        "domain": domain,
        "optimizer.learning_rate": learning_rate,
    }
    explicit = {key: value for key, value in given.items() if value is not None}
    # With --resume alone, the folder's own configuration holds.
    if not resume or env or preset or config or settings or explicit:
        chosen = build_config(env, preset or "paper", config, settings or [], **explicit)
    else:
        running.check_kind(out, transfers=False)
    if dry_run:
        common.choose_device(device, threads)
        running.print_plan(chosen, out, resume, threads, as_json)
        return
    result = running.run(chosen, out, resume, device, threads, tensorboard)
    running.print_result(result, as_json, "seed")
