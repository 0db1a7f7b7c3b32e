"""`crar-diag info`: what a file or folder of ours holds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from crar_diag.cli import common

EXAMPLE = "Example: [bold]crar-diag info runs/base/base-seed0.safetensors[/bold]"


def command(
    path: Annotated[Path, typer.Argument(help="A checkpoint or a run folder.")],
    as_json: common.JsonOption = False,
) -> None:
    """Print what a checkpoint or a run folder holds, after checking that it is whole."""
    found = _run(path) if common.is_folder(path) else _checkpoint(path)
    if as_json:
        common.print_json(found)
        return
    for key, value in found.items():
        if isinstance(value, dict):
            typer.echo(f"{key}:")
            for name, entry in value.items():
                typer.echo(f"  {name}: {_text(entry)}")
        else:
            typer.echo(f"{key}: {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _checkpoint(path: Path) -> dict[str, Any]:
    from crar_diag.agent.checkpoint import file_sha256
    from crar_diag.agent.loading import load_agent

    agent = load_agent(path)
    metadata = agent.metadata.model_dump(mode="json")
    configuration = metadata.pop("configuration")
    metadata["architecture"] = agent.architecture.name
    return {
        "kind": "checkpoint",
        "path": str(path),
        "sha256": file_sha256(path),
        "parameters": agent.architecture.parameter_count(),
        "precision": str(next(iter(agent.parameters.values())).dtype).removeprefix("torch."),
        **metadata,
        "configuration": configuration,
    }


def _run(path: Path) -> dict[str, Any]:
    from crar_diag.agent.loading import load_agent
    from crar_diag.agent.runfolder import read_run

    run = read_run(path, complete=False)
    for file in run.checkpoints.values():
        load_agent(file)
    return {
        "kind": "run folder",
        "path": str(path),
        "finished": run.finished,
        "updates_done": run.updates_done,
        "members": {seed: str(file) for seed, file in run.checkpoints.items()},
        "missing": [seed for seed in run.config.seeds if seed not in run.checkpoints],
        "history": run.history_path.is_file(),
        "configuration": run.config.model_dump(mode="json"),
    }
