"""`crar-diag train`: base models, all seeds as one population."""

from typing import TYPE_CHECKING, Annotated

import typer

from crar_diag.cli import common, running

if TYPE_CHECKING:
    from crar_diag.agent.config import TrainConfig

EXAMPLE = (
    "Example: [bold]crar-diag train --env simple-maze --preset quick --seeds 0:6 --out runs/base"
    "[/bold] trains six agents; [bold]crar-diag train --resume --out runs/base[/bold] goes on "
    "after an interruption."
)


def command(
    out: running.OutOption,
    env: Annotated[
        str | None, typer.Option("--env", help="simple-maze or labyrinth.", show_default=False)
    ] = None,
    seeds: running.SeedsOption = None,
    seed: running.SeedOption = None,
    preset: running.PresetOption = None,
    updates: running.UpdatesOption = None,
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain",
            help="Visual domain: normal, inverse, swapped, permuted, rotated or noise.",
            show_default="normal",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="RMSprop's rate at the first epoch.")
    ] = None,
    snapshots: running.SnapshotsOption = None,
    config: running.ConfigOption = None,
    settings: running.SetOption = None,
    resume: running.ResumeOption = False,
    dry_run: running.DryRunOption = False,
    tensorboard: running.TensorboardOption = None,
    scheduler: common.SchedulerOption = None,
    shard_size: running.ShardSizeOption = None,
    device: common.DeviceOption = "auto",
    threads: common.ThreadsOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Train base models: one CRAR agent a seed, all together, resumable at any instant.

    Writes a run folder: run.toml, one checkpoint a seed, history.h5, snapshots if asked for.
    """
    from crar_diag.agent.config_sources import build_config

    chosen: TrainConfig | None = None
    given = {
        "seeds": running.seeds_of(seed, seeds),
        "updates": updates,
        "domain": domain,
        "snapshots_every": snapshots,
        "optimizer.learning_rate": learning_rate,
    }
    explicit = {key: value for key, value in given.items() if value is not None}
    # With --resume alone, the folder's own configuration holds.
    if not resume or env or preset or config or settings or explicit:
        chosen = build_config(env, preset or "paper", config, settings or [], **explicit)
    else:
        running.check_kind(out, transfers=False)
    if dry_run:
        running.print_plan(chosen, out, resume, device, threads, as_json, scheduler, shard_size)
        return
    result = running.run(chosen, out, resume, device, threads, tensorboard, scheduler, shard_size)
    running.print_result(result, as_json, "seed")
