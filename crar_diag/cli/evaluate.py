"""`crar-diag evaluate`: losses and scores of checkpoints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crar_diag.cli import common, places, terminal

if TYPE_CHECKING:
    from crar_diag.agent.assessment import Assessment

EXAMPLE = (
    "Example: [bold]crar-diag evaluate runs/base --json[/bold], or with another look of the same "
    "task: [bold]crar-diag evaluate base-seed0.safetensors --domain inverse[/bold]"
)


def command(
    checkpoints: Annotated[list[Path], typer.Argument(help="Checkpoints or run folders.")],
    domain: Annotated[
        str | None,
        typer.Option("--domain", help="Visual domain.", show_default="the checkpoint's own"),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option("--depth", min=0, max=6, help="Planning depth.", show_default="3"),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(
            "--epsilon", min=0, max=1, help="Share of random actions.", show_default="0.1"
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Steps of the score.", show_default="200"),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option("--episodes", min=1, help="Play so many whole episodes instead."),
    ] = None,
    episode_cap: Annotated[
        int | None,
        typer.Option("--episode-cap", min=1, help="Steps that end an episode.", show_default="50"),
    ] = None,
    environments: Annotated[
        int | None,
        typer.Option(
            "--environments",
            min=1,
            help="Measure the score in so many at once and average.",
            show_default="1",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="TOML file with domain and a table evaluation."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value for any of these keys; repeatable."),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", min=0, help="Seed of mazes and exploration; every agent meets the same mazes."
        ),
    ] = 0,
    device: common.DeviceOption = "auto",
    threads: common.ThreadsOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Print the losses of agents, and their score where the task has rewards.

    Losses are exact in the simple maze (all 31 states, 124 transitions) and come with a standard
    error on held-out mazes in the labyrinth. The score is the paper's: the sum of rewards over
    --steps divided by the number of episodes; with --episodes, the mean return of whole episodes.
    """
    from crar_diag.agent.assessment import Play, assess
    from crar_diag.agent.evaluation_sources import evaluation_settings

    given = {
        "domain": domain,
        "depth": depth,
        "epsilon": epsilon,
        "steps": steps,
        "episodes": episodes,
        "episode_cap": episode_cap,
        "environments": environments,
    }
    chosen = evaluation_settings(config, settings or [])
    chosen |= {name: value for name, value in given.items() if value is not None}
    seen = chosen.pop("domain", None)
    where = common.choose_device(device, threads)
    files = places.checkpoint_files(checkpoints)
    with terminal.ProgressLine() as line:
        found = assess(files, seen, Play(**chosen), seed, where, terminal.counting(line, "agents"))
    if as_json:
        common.print_json({"checkpoints": [one.as_dict() for one in found]})
        return
    _print(found)


def _print(found: "list[Assessment]") -> None:
    common.print_table(
        ["checkpoint", "domain", *found[0].losses, "score"],
        [
            [
                str(one.path),
                one.domain,
                *(_with_error(value, one.losses_error[n]) for n, value in one.losses.items()),
                "-" if one.score is None else _with_error(one.score, one.score_error),
            ]
            for one in found
        ],
    )


def _with_error(value: float, error: float | None) -> str:
    return f"{value:.4g}" if not error or error != error else f"{value:.3g}±{error:.1g}"
