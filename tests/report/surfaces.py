"""Surfaces and pictures for the tests of lines and planes."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from crar_diag.landscape.surface import Surface
from crar_diag.report.planes import Axis, plane_dataset

ALPHAS = np.array([-0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5])
# Between the ends the straight lines are 1 + 2 alpha and 5 - 4 alpha.
TRANSITION = np.array([9.0, 1.0, 4.0, 2.0, 7.0, 3.0, 0.0])
VOLUME = np.array([6.0, 5.0, 6.0, 3.0, 4.5, 1.0, 0.5])
WEIGHTS = {"transition": 1.0, "volume": 0.5}
AXES = (Axis("distance along B - A"), Axis("distance towards C"))
POINTS = {"A": (0.0, 0.0, 0.0), "B": (3.0, 0.0, 0.0), "C": (1.0, 2.0, 0.25)}
XS, YS = np.array([-1.0, 0.0, 1.5, 3.0]), np.array([-1.0, 0.0, 2.0])
XS_UNFROZEN, YS_UNFROZEN = np.array([-1.0, 1.0, 3.0]), np.array([-1.0, 0.5, 2.0])


def line_surface(scale: float = 1.0, **more) -> Surface:
    losses = {"transition": scale * TRANSITION, "volume": VOLUME}
    losses["sum"] = losses["transition"] + 0.5 * VOLUME
    return Surface(losses, more.pop("errors", {}), **more)


def refitted_line(converged: np.ndarray | None = None) -> Surface:
    done = np.ones(len(ALPHAS), bool) if converged is None else converged
    return line_surface(0.5, converged=done, iterations=np.arange(len(ALPHAS)) + 10)


def slope(xs: np.ndarray, ys: np.ndarray, offset: float = 0.0) -> dict[str, np.ndarray]:
    """Losses of which the value tells the place: 10 x + y + offset."""
    x, y = np.meshgrid(xs, ys, indexing="ij")
    z = 10 * x + y + offset
    return {"transition": z, "volume": z - 7, "sum": 2 * z}


def plane_surfaces(offset: float = 20.0, converged: np.ndarray | None = None) -> dict:
    shape = (len(XS_UNFROZEN), len(YS_UNFROZEN))
    done = np.ones(shape, bool) if converged is None else converged
    refit = Surface(slope(XS_UNFROZEN, YS_UNFROZEN, offset - 5), {}, done, np.full(shape, 7))
    return {
        "frozen": (XS, YS, Surface(slope(XS, YS, offset), {})),
        "unfrozen": (XS_UNFROZEN, YS_UNFROZEN, refit),
    }


def plane(**changed):
    """Both surfaces and three points, but for what is changed."""
    given = plane_surfaces() | {"points": POINTS, "axes": AXES, "attrs": {}} | changed
    return plane_dataset(**given)


def rendered(figure: Figure) -> np.ndarray:
    """Return the picture, uint8 `[height, width, 4]`, the top row first."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def cut_off(figure: Figure) -> list[str]:
    """Return the texts that do not lie within the figure, tick labels apart."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ticks = {label for axes in figure.axes for label in _tick_labels(axes)}
    found = []
    for text in figure.findobj(Text):
        if text in ticks or not text.get_visible() or not text.get_text().strip():
            continue
        (left, bottom), (right, top) = text.get_window_extent(canvas.get_renderer()).get_points()
        if left < 0 or bottom < 0 or right > figure.bbox.x1 or top > figure.bbox.y1:
            found.append(text.get_text())
    return found


def _tick_labels(axes) -> list[Text]:
    return [tick.label1 for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks()]
