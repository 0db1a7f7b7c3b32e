"""`crar-diag transfer`: base models put into another visual domain, all as one population."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crar_diag.cli import common, places, running
from crar_diag.errors import InputError

if TYPE_CHECKING:
    from crar_diag.agent.transfer_config import TransferConfig

EXAMPLE = (
    "Example: [bold]crar-diag transfer runs/base --variant original,finetune --seeds 0:22 "
    "--out runs/transfer[/bold] transfers every base model in two variants with 22 seeds each; "
    "[bold]crar-diag transfer --resume --out runs/transfer[/bold] goes on after an interruption."
)


def command(
    out: running.OutOption,
    bases: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="BASE...", help="Base models: checkpoints or run folders.", show_default=False
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            "--variant",
            help="original, reset-encoder, permute-encoder, finetune, no-disambiguation, "
            "delayed-structure, scratch, oracle, paired; several with commas.",
            show_default="original",
        ),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option("--domain", help="Visual domain to go to.", show_default="inverse"),
    ] = None,
    seeds: running.SeedsOption = None,
    seed: running.SeedOption = None,
    learning_rate: Annotated[
        str | None,
        typer.Option(
            "--learning-rate", help="RMSprop's rate at the first epoch; several with commas."
        ),
    ] = None,
    preset: running.PresetOption = None,
    updates: running.UpdatesOption = None,
    restarts: Annotated[
        int | None,
        typer.Option(
            "--restarts",
            min=1,
            help="Encoders for each transfer, from different starts; that with the smallest "
            "transition loss is kept.",
        ),
    ] = None,
    realign: Annotated[
        bool,
        typer.Option(
            "--realign",
            help="After every epoch, try orthogonal maps of the embedding and keep one that "
            "brings the frozen transition loss down clearly.",
        ),
    ] = False,
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
    """Transfer base models to another visual domain: every base, variant, rate and seed.

    All but the encoder is frozen, unless the variant says otherwise. Writes a run folder: run.toml,
    one checkpoint a transfer, history.h5 with the embedding of all states over time, snapshots if
    asked for.
    """
    given = {
        "variants": variant,
        "domain": domain,
        "seeds": running.seeds_of(seed, seeds),
        "learning_rates": learning_rate,
        "updates": updates,
        "restarts": restarts,
        "snapshots_every": snapshots,
        "realign.every": 1 if realign else None,
    }
    explicit = {key: value for key, value in given.items() if value is not None}
    chosen: TransferConfig | None = None
    if bases:
        chosen = _configure(bases, preset or "paper", config, settings or [], explicit)
    elif not resume or preset or config or settings or explicit:
        raise InputError("expected base models to transfer: crar-diag transfer BASE... --out DIR")
    else:
        running.check_kind(out, transfers=True)
    if dry_run:
        running.print_plan(chosen, out, resume, device, threads, as_json, scheduler, shard_size)
        return
    result = running.run(chosen, out, resume, device, threads, tensorboard, scheduler, shard_size)
    running.print_result(result, as_json, "transfer")


def _configure(
    bases: list[Path],
    preset: str,
    config: Path | None,
    settings: list[str],
    explicit: dict[str, Any],
) -> "TransferConfig":
    from crar_diag.agent.bases import base_files, task_of_bases
    from crar_diag.agent.config_sources import build_transfer_config
    from crar_diag.agent.loading import load_agents

    files = places.checkpoint_files(bases)
    task = task_of_bases(load_agents(files))
    return build_transfer_config(base_files(files), task, preset, config, settings, **explicit)
