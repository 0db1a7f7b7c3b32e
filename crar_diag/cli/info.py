"""`crar-diag info`: what a file or folder of ours holds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from crar_diag.cli import common, places

EXAMPLE = "Example: [bold]crar-diag info runs/base/base-seed0.safetensors[/bold]"


def command(
    path: Annotated[Path, typer.Argument(help="A checkpoint, a run folder or a report.")],
    as_json: common.JsonOption = False,
) -> None:
    """Print what a checkpoint, a run folder or a report holds, after checking that it is whole."""
    if places.is_folder(path):
        found = _run(path)
    elif places.is_hdf5(path):
        from crar_diag.report.store import describe_report

        found = describe_report(path)
    else:
        found = _checkpoint(path)
    if as_json:
        common.print_json(found)
        return
    if found["kind"] == "report":
        _print_report(found)
        return
    for key, value in found.items():
        if isinstance(value, dict):
            typer.echo(f"{key}:")
            for name, entry in value.items():
                typer.echo(f"  {name}: {_text(entry)}")
        else:
            typer.echo(f"{key}: {_text(value)}")


def _print_report(found: dict[str, Any]) -> None:
    for key in ("kind", "path", "schema_version", "crar_diag"):
        typer.echo(f"{key}: {found[key]}")
    for group, held in found["groups"].items():
        made = held["provenance"]
        typer.echo(f"/{group}" + (f"  ({made['time']}: {made['command']})" if made else ""))
        for name, variable in held["variables"].items():
            if not variable["coordinate"]:
                shape = " x ".join(f"{dim} {size}" for dim, size in variable["dims"].items())
                unit = "" if variable["units"] == "1" else f" [{variable['units']}]"
                typer.echo(f"  {name} ({shape or 'scalar'}){unit}: {variable['long_name']}")


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
    from crar_diag.agent.run import read_run

    run = read_run(path, complete=False)
    members = run.checkpoints
    for file in members.values():
        load_agent(file)
    return {
        "kind": "run folder",
        "path": str(path),
        "finished": run.finished,
        "updates_done": run.updates_done,
        "members": {agent: str(file) for agent, file in members.items()},
        "missing": [agent for agent in run.config.agents() if agent not in members],
        "history": run.history_path.is_file(),
        "configuration": run.config.model_dump(mode="json"),
    }
