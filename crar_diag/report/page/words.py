"""What became of a transfer, in words."""

from typing import Final

import xarray as xr

from crar_diag.embedding.outcome import NO_BASE

KIND_WORDS: Final = {
    "identity": "It has its base's embedding.",
    "exchange": "Its two rooms have changed places: each room fits its base's only when mapped "
    "alone.",
    "mirror": "Its embedding is a mirror image of its base's.",
    "swap": "Its embedding is its base's turned by about 180 degrees.",
    "rotation": "Its embedding is its base's, turned.",
    "channels": "Its embedding is its base's with the channels in another order.",
    "collapsed": "Its states have fallen together.",
    "unfinished": "No map carries its base's embedding onto it, and it still moves.",
    "other": "No map carries its base's embedding onto it.",
    "diverged": "Its training diverged; these are its last finite states.",
    NO_BASE: "It was trained from scratch and has no base to be compared with.",
}
"""Kind of outcome -> a sentence; the rules are those of `embedding.kinds`."""

SYMBOLS: Final = {
    "identity": "circle",
    "exchange": "x",
    "mirror": "triangle-up",
    "swap": "diamond",
    "rotation": "square",
    "channels": "cross",
    "collapsed": "star",
    "unfinished": "hexagon2",
    "other": "triangle-down",
    "diverged": "hexagram",
    NO_BASE: "square-open",
}
"""Kind of outcome -> plotly's marker, so that kinds can be told apart without colours."""


def described(own: xr.Dataset) -> str:
    """Return what became of one transfer, in a few sentences.

    Args:
        own: one row of a report's `/outcome`.
    """
    kind, base = str(own.kind.values), str(own.base.values)
    words = [KIND_WORDS.get(kind, "")]
    distance, residual = (float(own[name]) for name in ("distance", "residual"))
    if base and distance == distance:
        words.append(f"Mean distance to the embedding of {base}: {distance:.3g}.")
    if base and residual == residual:
        words.append(f"Residual after the best single map: {residual:.2g}{_map_words(own)}.")
    loss = float(own.final_loss.sel(loss="transition"))
    words.append(f"Final transition loss: {loss:.2g}.")
    if float(own.score) == float(own.score):
        words.append(f"Mean of its last scores: {float(own.score):.2f}.")
    return " ".join(word for word in words if word)


def _map_words(own: xr.Dataset) -> str:
    """Return which map of a plane fits best, as `, a rotation by 12 degrees`."""
    if bool(own.reflected) and float(own.axis) == float(own.axis):
        return f", a reflection at an axis of {float(own.axis):.0f} degrees"
    if not bool(own.reflected) and float(own.angle) == float(own.angle):
        return f", a rotation by {float(own.angle):.0f} degrees"
    return ""
