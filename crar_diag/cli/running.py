"""How the commands that train run: their options, progress, plans, results."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common, terminal
from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.agent.config import TrainConfig
    from crar_diag.agent.run import Run
    from crar_diag.agent.training import Progress, RunResult

OutOption = Annotated[Path, typer.Option("--out", help="Run folder to write.")]
SeedsOption = Annotated[
    str | None,
    typer.Option(
        "--seeds", help="Half-open ranges and numbers: 0:6, 3, 0,2,5:8.", show_default="0"
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", min=0, help="One seed.")]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="paper (the published protocol) or quick (a short one).",
        show_default="paper",
    ),
]
UpdatesOption = Annotated[
    int | None, typer.Option("--updates", min=1, help="Updates of each agent.")
]
SnapshotsOption = Annotated[
    int | None,
    typer.Option(
        "--snapshots",
        min=0,
        metavar="N",
        help="Also keep every agent as it is at the start, after every N epochs and at the end: "
        "checkpoints in the run's folder snapshots.",
        show_default="none",
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file with any configuration keys.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value for any configuration key; repeatable."),
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would run, and how large; run nothing.")
]
TensorboardOption = Annotated[
    Path | None,
    typer.Option("--tensorboard", help="Also write TensorBoard logs to this folder, one a run."),
]
ShardSizeOption = Annotated[
    int | None,
    typer.Option(
        "--shard-size",
        min=1,
        help="Train in shards of so many agents, one after the other: less memory.",
        show_default="all at once; with --scheduler 8, in the labyrinth 1",
    ),
]


def seeds_of(seed: int | None, seeds: str | None) -> str | None:
    """Return the seeds that either option names.

    Raises:
        InputError: both are given.
    """
    if seed is not None and seeds is not None:
        raise InputError("--seed and --seeds say the same: give one of them")
    return seeds if seed is None else str(seed)


def run(
    config: "TrainConfig | None",
    out: Path,
    resume: bool,
    device: str,
    threads: int | None,
    tensorboard: Path | None,
    scheduler: str | None = None,
    shard_size: int | None = None,
) -> "RunResult":
    """Train in this terminal: with a progress line, stoppable, logged if `tensorboard` is given."""
    from crar_diag.agent.training import Watch, train
    from crar_diag.cli.tensorboard import board

    where = common.choose_place(device, threads, scheduler)
    begun = _begun(out) if resume else None
    if begun is not None and begun.finished:  # no worker is needed to say so
        scheduler = shard_size = None
    goes_on_in_shards = begun is not None and begun.in_shards
    if goes_on_in_shards and scheduler is None and shard_size is None:
        typer.echo("crar-diag: begun in shards, the run goes on in shards, here", err=True)
    with (
        terminal.ProgressLine() as line,
        terminal.stoppable() as stop,
        board(tensorboard, resume) as recorded,
    ):

        def show(progress: "Progress") -> None:
            done = f"{progress.updates:,} of {progress.total:,} updates, {progress.members} members"
            rate, left = progress.rate, progress.seconds_left
            line.show(progress.updates / progress.total, done, rate, "agent-updates", left)

        watch = Watch(progress=show, recorded=recorded, stop=stop.is_set)
        if scheduler is None and shard_size is None and not goes_on_in_shards:
            return train(config, out, resume=resume, device=where, threads=threads, watch=watch)
        from crar_diag.distributed.pools import LocalPool
        from crar_diag.distributed.writer import train_in_shards

        shards: dict[str, Any] = {"resume": resume, "shard_size": shard_size, "watch": watch}
        if scheduler is None:
            with LocalPool(threads) as pool:
                return train_in_shards(config, out, pool, device=str(where), **shards)
        with common.dask_workers(scheduler) as workers:
            return train_in_shards(config, out, workers, device=device, **shards)


def _begun(out: Path) -> "Run | None":
    """Return the run in a folder, finished or not; None if there is none."""
    from crar_diag.agent.run import CONFIG_NAME, read_run

    return read_run(out, complete=False) if (out / CONFIG_NAME).is_file() else None


def check_kind(out: Path, transfers: bool) -> None:
    """Refuse to resume, by its folder alone, a run of the other command.

    Raises:
        InputError: it is one, or there is no run.
    """
    from crar_diag.agent.runfolder import choose_config
    from crar_diag.agent.transfer_config import TransferConfig

    if isinstance(choose_config(out, None, True), TransferConfig) != transfers:
        found, command = ("base models", "train") if transfers else ("transfers", "transfer")
        raise InputError(
            f"run folder '{out}' holds a run of {found}: resume it by crar-diag {command}"
        )


def print_plan(
    config: "TrainConfig | None",
    out: Path,
    resume: bool,
    device: str,
    threads: int | None,
    as_json: bool,
    scheduler: str | None = None,
    shard_size: int | None = None,
) -> None:
    """Print what a run would take on this machine, what is left of it, and in how many shards."""
    from crar_diag.agent.config_sources import to_toml
    from crar_diag.agent.forecast import plan
    from crar_diag.agent.jobs import check
    from crar_diag.agent.runfolder import choose_config

    where = common.choose_place(device, threads, scheduler)
    config = choose_config(out, config, resume)
    begun = _begun(out) if resume else None
    shards = None
    if scheduler or shard_size or (begun is not None and begun.in_shards):
        from crar_diag.distributed.shards import cut
        from crar_diag.distributed.writer import choose_size

        shards = cut(config, choose_size(begun or config, shard_size))
    else:
        check(config, where)
    done = begun.updates_done if begun is not None else 0
    found: dict[str, Any] = {"out": str(out), **plan(config, threads, done, shards)}
    if shards is not None:
        found["shards"] = len(shards)
    if as_json:
        common.print_json({**found, "config": config.model_dump(mode="json")})
        return
    typer.echo(to_toml(config))
    typer.echo(
        f"would train {found['members']} agents of {found['parameters']:,} parameters for "
        f"{found['updates']:,} updates{_behind(done)} into '{out}': about "
        f"{terminal.duration(found['seconds'])} (at {terminal.rate(found['rate'])} agent-updates a "
        f"second on the CPU, measured now), {common.size(found['memory_bytes'])} of memory, "
        f"{common.size(found['disk_bytes'])} of disk"
    )
    if "shards" in found:
        typer.echo(
            f"in {found['shards']:,} shards; the time is that of this machine alone, the memory "
            "that of one shard at a time"
        )


def _behind(done: int) -> str:
    return f" ({done:,} of them are done)" if done else ""


def print_result(result: "RunResult", as_json: bool, agent: str) -> None:
    """Print what became of a run.

    Args:
        result: of the run.
        as_json: as one JSON object.
        agent: by what its agents are told apart.

    Raises:
        typer.Exit: with code 1 if all of them diverged.
    """
    if as_json:
        common.print_json(
            {
                "run": str(result.path),
                "members": [
                    {
                        agent: name,
                        "checkpoint": str(path),
                        "losses": result.losses[name],
                        "diverged_at": result.diverged.get(name),
                    }
                    for name, path in result.checkpoints.items()
                ],
            }
        )
    else:
        names = next(iter(result.losses.values()))
        common.print_table(
            [agent, *names],
            [
                [str(name), *(f"{value:.4g}" for value in losses.values())]
                for name, losses in result.losses.items()
            ],
        )
        typer.echo(f"{len(result.checkpoints)} agents in '{result.path}'")
    for name, update in result.diverged.items():
        typer.echo(
            f"crar-diag: {agent} {name} diverged at update {update}: a loss or gradient was not "
            "finite; its checkpoint holds the last finite parameters",
            err=True,
        )
    if len(result.diverged) == len(result.checkpoints):
        raise typer.Exit(1)
