"""What `crar-diag path` prints of the paths that it has found."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from crar_diag.cli import common

if TYPE_CHECKING:
    import xarray as xr

    from crar_diag.landscape.symmetries import Alignment
    from crar_diag.landscape.views import Between

_BARRIERS = ("above_ends", "above_ends_at", "above_line", "above_line_at")
# A rise of less than this share of the sum is rounding of single precision, in which agents are.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Found:
    """What was computed, of what, and where it was written."""

    dataset: "xr.Dataset"
    between: "Between"
    alignment: "Alignment | None"
    output: Path | None
    figure: Path | None


def show(found: Found, as_json: bool) -> None:
    """Print barriers along the paths, what they mean, and where the rest is."""
    notes = _notes(found)
    if as_json:
        common.print_json(_as_json(found) | {"notes": notes})
        return
    dataset = found.dataset
    for kind in map(str, dataset.dynamics.values):
        typer.echo(f"{kind} dynamics, domain '{found.between.ends.domain}':")
        own = dataset.sel(dynamics=kind)
        rows = [
            _row(own.sel(loss=loss, path=course), [loss, course], "", "t")
            for loss in map(str, dataset.loss.values)
            for course in map(str, dataset.path.values)
        ]
        common.print_table(["loss", "path", "at A", "at B", *_COLUMNS], rows)
        typer.echo("")
    if "rotation_value" in dataset:
        angle = float(dataset.angle[-1])
        typer.echo(f"A turned by {angle:g} degrees, dynamics turning along and not:")
        rows = [
            _row(dataset.sel(loss=loss, turning=turning), [loss, turning], "rotation_", "angle")
            for loss in map(str, dataset.loss.values)
            for turning in map(str, dataset.turning.values)
        ]
        common.print_table(["loss", "turning", "at 0", f"at {angle:g}", *_COLUMNS], rows)
        typer.echo("")
    for note in notes:
        typer.echo(note)
    if found.output is not None:
        typer.echo(f"written to '{found.output}'")
    if found.figure is not None:
        typer.echo(f"figure in '{found.figure}'")


_COLUMNS = ("highest", "at", "above the ends", "above the line", "at")


def _row(one: "xr.Dataset", names: list[str], prefix: str, along: str) -> list[str]:
    values = one[f"{prefix}value"].values
    rise, place, line, line_place = (float(one[prefix + name]) for name in _BARRIERS)
    numbers = [f"{values[0]:.4g}", f"{values[-1]:.4g}", f"{float(one[prefix + 'highest']):.4g}"]
    return [*names, *numbers, f"{place:.3g}", f"{rise:.4g}", f"{line:.4g}", f"{line_place:.3g}"]


def _notes(found: Found) -> list[str]:
    """Return what a reader has to know about the numbers, in sentences."""
    from crar_diag.landscape.agents import same_dynamics

    dataset, between = found.dataset, found.between
    sums = ", ".join(f"{name} {weight:g}" for name, weight in between.problem.weights.items())
    notes = [f"weights of the losses in the sum: {sums}"]
    kinds = list(map(str, dataset.dynamics.values))
    if "frozen" in kinds and not same_dynamics([between.dynamics, *between.ends.agents]):
        notes.append(
            f"the checkpoints differ in their dynamics: the frozen ones are those of "
            f"'{between.dynamics.path}'"
        )
    if found.alignment is not None:
        one = found.alignment
        notes.append(
            f"B was aligned to A: {one.moved} of {one.units} hidden units changed place or sign, "
            f"the distance went from {one.distance_before:.4g} to {one.distance_after:.4g}"
        )
    if "refit_before" in dataset:
        notes += [_refit_note(dataset.sel(end=end)) for end in map(str, dataset.end.values)]
    notes += [_verdict(dataset.sel(dynamics=kind), kind) for kind in kinds]
    return [*notes, _rotation_note(dataset)]


def _refit_note(end: "xr.Dataset") -> str:
    before, after = float(end.refit_before), float(end.refit_after)
    how = "" if bool(end.refit_converged) else ", not converged"
    return (
        f"unfrozen: re-fitting the dynamics of {str(end.end.values).upper()} to its encoder took "
        f"the sum from {before:.4g} to {after:.4g} in {int(end.refit_iterations)} iterations{how}"
    )


def _rotation_note(dataset: "xr.Dataset") -> str:
    """Say what turning A costs, with its dynamics and without."""
    if "rotation_value" not in dataset:
        return "no rotation: the abstract states are no points of a plane"
    rise = dataset.rotation_value - dataset.rotation_value.isel(angle=0)
    others = [str(loss) for loss in dataset.loss.values if loss not in ("sum", "volume")]
    change = float(abs(rise.sel(turning="together", loss=others)).max())
    volume = float(dataset.rotation_above_ends.sel(turning="together", loss="volume"))
    alone = float(rise.sel(turning="encoder", loss="transition").max())
    return (
        f"rotation: turning A with its dynamics changes no loss but volume by more than "
        f"{change:.1g}, volume rises {volume:.4g}; turning the encoder alone, the transition loss "
        f"rises {alone:.4g}"
    )


def _verdict(own: "xr.Dataset", kind: str) -> str:
    """Say whether there is a barrier on the curve, or only on the straight segment."""
    total = own.sel(loss="sum")
    straight, curve = (total.sel(path=course) for course in ("straight", "curve"))
    worse = float(straight.value.values[[0, -1]].max())
    how = f"{int(own.iterations)} iterations, {'' if bool(own.converged) else 'not '}converged"
    along = f"the straight segment rises {float(straight.above_ends):.4g} above the worse end"
    if float(straight.above_ends) <= _ROUNDING * worse:
        return f"{kind}: no barrier on the straight segment"
    if float(curve.above_ends) <= _ROUNDING * worse:
        return f"{kind}: no barrier: nothing on the curve is above the worse end, {along} ({how})"
    share = float(curve.above_ends) / float(straight.above_ends)
    return (
        f"{kind}: the lowest curve found rises {float(curve.above_ends):.4g} above the worse end "
        f"at t = {float(curve.above_ends_at):.3g}, {along}: the barrier is at most "
        f"{100 * share:.2g}% of the straight one ({how})"
    )


def _as_json(found: Found) -> dict[str, Any]:
    dataset, between = found.dataset, found.between
    value: dict[str, Any] = {
        "checkpoints": [str(agent.path) for agent in between.ends.agents],
        "domain": between.ends.domain,
        "dynamics_of": str(between.dynamics.path),
        "weights": dict(between.problem.weights),
        "t": dataset.t.values.tolist(),
        "paths": {},
    }
    for kind in map(str, dataset.dynamics.values):
        own = dataset.sel(dynamics=kind)
        value["paths"][kind] = {
            **{
                course: _losses(own.sel(path=course), "")
                | {"arc_length": own.arc_length.sel(path=course).values.tolist()}
                for course in map(str, dataset.path.values)
            },
            "iterations": int(own.iterations),
            "converged": bool(own.converged),
        }
    if "refit_before" in dataset:
        value["refits"] = {
            str(end): {
                name: dataset[f"refit_{name}"].sel(end=end).item()
                for name in ("before", "after", "iterations", "converged")
            }
            for end in dataset.end.values
        }
    if "rotation_value" in dataset:
        value["rotation"] = {"angle": dataset.angle.values.tolist()} | {
            str(turning): _losses(dataset.sel(turning=turning), "rotation_")
            for turning in dataset.turning.values
        }
    if found.alignment is not None:
        names = ("distance_before", "distance_after", "moved", "units")
        value["alignment"] = {name: getattr(found.alignment, name) for name in names}
    value["report"] = None if found.output is None else str(found.output)
    value["figure"] = None if found.figure is None else str(found.figure)
    return value


def _losses(own: "xr.Dataset", prefix: str) -> dict[str, Any]:
    return {
        "losses": {
            str(loss): {
                "values": own[f"{prefix}value"].sel(loss=loss).values.tolist(),
                **{
                    name: float(own[prefix + name].sel(loss=loss))
                    for name in ("highest", *_BARRIERS)
                },
            }
            for loss in own.loss.values
        }
    }
