"""What `crar-diag landscape` draws: the agents and views that its options ask for, checked."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crar_diag.cli import comparing
from crar_diag.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import torch

    from crar_diag.agent.loading import Agent
    from crar_diag.landscape.views import Between, View

LINE_POINTS, PLANE_POINTS, UNFROZEN_POINTS, REWARD_POINTS = 61, 51, 25, 15
DYNAMICS: Final = ("frozen", "unfrozen")
OWN, LIBRARY = ENGINES = ("crar-diag", "loss-landscapes")


@dataclass(frozen=True)
class Sizes:
    """How many points the user asked for along an axis; None for the defaults.

    Attributes:
        points: of lines and planes.
        unfrozen: of planes with unfrozen dynamics.
    """

    points: int | None
    unfrozen: int | None

    def fine(self, mode: str) -> int:
        """Return the number for a mode."""
        if self.points is not None:
            return self.points
        return {"line": LINE_POINTS, "reward": REWARD_POINTS}.get(mode, PLANE_POINTS)

    def coarse(self, mode: str) -> int:
        """Return the number for its unfrozen surface.

        Raises:
            InputError: it was asked for and is even or tiny.
        """
        from crar_diag.landscape.grids import LEAST_POINTS, check_odd

        if self.unfrozen is None:
            return min(self.fine(mode), UNFROZEN_POINTS)
        try:
            check_odd(self.unfrozen, 3 if mode == "trajectory" else LEAST_POINTS)
        except InputError as error:
            raise InputError(str(error), arguments=["unfrozen_points"]) from None
        return self.unfrozen


def chosen(option: str, text: str, choices: Sequence[str]) -> list[str]:
    """Return the different names in `a,b`.

    Raises:
        InputError: one of them is none of the choices.
    """
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in choices:
            raise InputError(f"{option}: unknown '{name}'{did_you_mean(name, choices)}")
    return list(dict.fromkeys(names))


def refit_settings(iterations: int | None, tolerance: float | None) -> dict[str, Any]:
    """Return what the options say of re-fits.

    Raises:
        InputError: a number that means nothing.
    """
    from crar_diag.landscape.refit import RefitSettings

    given = {"iterations": iterations, "tolerance": tolerance}
    settings: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        RefitSettings(**settings)
    except InputError as error:
        raise InputError(f"--refit-{error}") from None
    return settings


def between_agents(
    files: Sequence[Path | None],
    dynamics_from: Path | None,
    domain: str | None,
    weight: list[str] | None,
    transitions: int,
    seed: int,
    device: "torch.device",
) -> "Between":
    """Load the agents, check that they can be compared, and make their problem.

    Args:
        files: A, B and a third, None where not given.
        dynamics_from: whose dynamics all points have; A's by default.
        domain: in which all are evaluated.
        weight: `loss=value` each.
        transitions: size of the labyrinth's sample.
        seed: of that sample.
        device: where to compute.

    Raises:
        InputError: files that are no checkpoints or do not fit together, an unknown domain or loss.
    """
    from crar_diag.agent.loading import load_agent, load_agents
    from crar_diag.landscape.agents import agent_problem, check_same_task, comparable
    from crar_diag.landscape.views import Between

    weights = comparing.weights(weight)
    _, b, third = files
    if b is None and third is not None:
        raise InputError("--third needs both CKPT_A and CKPT_B")
    ends = comparable(load_agents([path for path in files if path is not None]), domain)
    first = dynamics = ends.agents[0]
    if dynamics_from is not None:
        dynamics = load_agent(dynamics_from)
        check_same_task(first, dynamics)
    problem = agent_problem(
        first, ends.domain, weights=weights, transitions=transitions, seed=seed, device=device
    )
    return Between(problem, ends, dynamics)


def views_of(
    modes: Sequence[str], between: "Between", sizes: Sizes, kinds: Collection[str], seed: int
) -> "tuple[list[View], list[Agent]]":
    """Return the views, and the snapshots of a trajectory if it is among them.

    Raises:
        InputError: a view that these agents or sizes do not allow, or of which nothing is asked.
    """
    from crar_diag.agent.lifting import one_thread
    from crar_diag.landscape.reward import check_reward

    if "reward" in modes:
        check_reward(between.ends.agents[0])
    snapshots = _snapshots(between) if "trajectory" in modes else []
    with one_thread():  # with more, the last bit of a length depends on their number
        views = [_view(mode, between, sizes, seed, snapshots) for mode in modes]
    for view in views:
        if view.coarse is None and "frozen" not in kinds:
            raise InputError(
                f"the mode {view.mode} has no dynamics to re-fit: expected frozen ones",
                arguments=["dynamics"],
            )
    return views, snapshots


def _view(
    mode: str, between: "Between", sizes: Sizes, seed: int, snapshots: "list[Agent]"
) -> "View":
    from crar_diag.landscape import views

    fine = sizes.fine(mode)
    if mode == "line":
        return views.line(between, fine)
    if mode == "dynamics-plane":
        return views.dynamics_plane(between, fine, seed)
    if mode == "reward":
        return views.reward_plane(between, fine, seed)
    coarse = sizes.coarse(mode)
    if mode == "plane":
        return views.plane(between, fine, coarse)
    if mode == "trajectory":
        return views.trajectory(between, snapshots, fine, coarse)
    return views.random_plane(between, fine, coarse, seed)


def _snapshots(between: "Between") -> "list[Agent]":
    """Return what the first agent was on the way, its own file last."""
    from crar_diag.agent.loading import load_agents
    from crar_diag.agent.snapshots import snapshot_files

    end = between.ends.agents[0]
    found = snapshot_files(end.path.parent, end.path.stem)
    return load_agents([snapshot.path for snapshot in found])
