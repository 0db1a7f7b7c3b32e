"""`crar-diag train`: base models, all seeds as one population."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common
from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.agent.config import TrainConfig
    from crar_diag.agent.training import Progress, RunResult

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
    if dry_run:
        common.choose_device(device, threads)
        _print_plan(chosen, out, resume, threads, as_json)
        return
    result = _run(chosen, out, resume, device, threads, tensorboard)
    _print_result(result, as_json)


def _run(
    config: "TrainConfig | None",
    out: Path,
    resume: bool,
    device: str,
    threads: int | None,
    tensorboard: Path | None,
) -> "RunResult":
    from crar_diag.agent.training import Watch, train
    from crar_diag.cli.tensorboard import board

    where = common.choose_device(device, threads)
    with (
        common.ProgressLine() as line,
        common.stoppable() as stop,
        board(tensorboard, resume) as recorded,
    ):

        def show(progress: "Progress") -> None:
            done = f"{progress.updates:,} of {progress.total:,} updates, {progress.members} members"
            rate, left = progress.rate, progress.seconds_left
            line.show(progress.updates / progress.total, done, rate, "agent-updates", left)

        watch = Watch(progress=show, recorded=recorded, stop=stop.is_set)
        return train(config, out, resume=resume, device=where, threads=threads, watch=watch)


def _print_plan(
    config: "TrainConfig | None", out: Path, resume: bool, threads: int | None, as_json: bool
) -> None:
    from crar_diag.agent.config_sources import to_toml
    from crar_diag.agent.forecast import plan
    from crar_diag.agent.runfolder import choose_config

    config = choose_config(out, config, resume)
    found: dict[str, Any] = {"out": str(out), **plan(config, threads)}
    if as_json:
        common.print_json({**found, "config": config.model_dump(mode="json")})
        return
    typer.echo(to_toml(config))
    typer.echo(
        f"would train {found['members']} agents of {found['parameters']:,} parameters for "
        f"{found['updates']:,} updates into '{out}': about "
        f"{common.duration(found['seconds'])} (at {common.rate(found['rate'])} agent-updates a "
        f"second on the CPU, measured now), {common.size(found['memory_bytes'])} of memory, "
        f"{common.size(found['disk_bytes'])} of disk"
    )


def _print_result(result: "RunResult", as_json: bool) -> None:
    if as_json:
        common.print_json(
            {
                "run": str(result.path),
                "members": [
                    {
                        "seed": seed,
                        "checkpoint": str(path),
                        "losses": result.losses[seed],
                        "diverged_at": result.diverged.get(seed),
                    }
                    for seed, path in result.checkpoints.items()
                ],
            }
        )
    else:
        names = next(iter(result.losses.values()))
        common.print_table(
            ["seed", *names],
            [
                [str(seed), *(f"{value:.4g}" for value in losses.values())]
                for seed, losses in result.losses.items()
            ],
        )
        typer.echo(f"{len(result.checkpoints)} agents in '{result.path}'")
    for seed, update in result.diverged.items():
        typer.echo(
            f"crar-diag: seed {seed} diverged at update {update}: a loss or gradient was not "
            "finite; its checkpoint holds the last finite parameters",
            err=True,
        )
    if len(result.diverged) == len(result.checkpoints):
        raise typer.Exit(1)
