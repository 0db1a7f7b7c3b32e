"""`crar-diag import-deer`: networks of the paper's published code as checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from crar_diag.cli import common, places
from crar_diag.errors import InputError

EXAMPLE = (
    "Example: [bold]crar-diag import-deer network.joblib --env simple-maze --domain inverse -o "
    "network.safetensors[/bold]; then [bold]crar-diag evaluate network.safetensors[/bold]."
)


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What DeeR saved (joblib).")],
    environment: Annotated[str, typer.Option("--env", help="simple-maze or labyrinth.")],
    domain: Annotated[
        str, typer.Option("--domain", help="Visual domain that the network was trained in.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Checkpoint to write.")],
    observation: Annotated[
        str | None,
        typer.Option(
            "--observation", help="symbolic or pixels.", show_default="that of the published code"
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of its training, if known.")] = 0,
    updates: Annotated[
        int, typer.Option("--updates", min=0, max=2**53, help="Of its training, if known.")
    ] = 0,
    as_json: common.JsonOption = False,
) -> None:
    """Turn a network of DeeR, the code base that the paper's authors published, into a checkpoint.

    The file is a list of arrays in the order encoder, Q, reward, discount, transition. It is read
    without running anything that it says: lists, tuples and arrays of numbers are admitted, nothing
    else, and 64 MiB at most, decompressed. The constants and weights of the losses are those of the
    published configuration.
    """
    from crar_diag.agent.checkpoint import file_sha256
    from crar_diag.agent.deer import IMPORTED, import_network

    if not places.is_folder(output.parent):
        raise InputError(f"checkpoint '{output}': there is no folder '{output.parent}'")
    made = import_network(
        file,
        output,
        environment=environment,
        domain=domain,
        observation=observation,
        seed=seed,
        updates=updates,
    )
    metadata = made.metadata
    count = sum(p.numel() for p in made.parameters.values())
    precision = metadata.configuration["precision"]
    if as_json:
        common.print_json(
            {
                "checkpoint": str(output),
                "sha256": file_sha256(output),
                "source": str(file),
                "source_sha256": metadata.configuration[IMPORTED]["sha256"],
                "environment": metadata.environment,
                "observation": metadata.observation,
                "domain": metadata.domain,
                "architecture": metadata.architecture["name"],
                "parameters": count,
                "precision": precision,
                "seed": metadata.seed,
                "updates": metadata.updates,
            }
        )
        return
    typer.echo(
        f"'{output}': {metadata.architecture['name']}, {count:,} parameters ({precision}), domain "
        f"'{metadata.domain}', seed {metadata.seed}, {metadata.updates:,} updates"
    )
