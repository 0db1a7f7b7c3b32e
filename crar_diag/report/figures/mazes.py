"""What an agent sees of its task, in its own domain and in another: figures 3 and 4."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from crar_diag.agent.history import labelled
from crar_diag.envs import labyrinth, simple_maze
from crar_diag.envs.names import DEFAULT_OBSERVATION, SIMPLE_MAZE
from crar_diag.envs.observer import Observer
from crar_diag.report.figures.pixels import as_vectors, draw_pixels
from crar_diag.report.layout import settle
from crar_diag.report.style import COLUMN, paper_style

DOMAINS = ("normal", "inverse")


def maze_pictures(
    environment: str, *, seed: int = 0, domains: Sequence[str] = DOMAINS
) -> xr.Dataset:
    """Return what an agent sees of one maze in several visual domains.

    Args:
        environment: `simple-maze`, with the player at its start, or `labyrinth`.
        seed: of the labyrinth.
        domains: of which the pictures are.

    Returns:
        The `picture` over `domain`, `row` and `column`.

    Raises:
        InputError: an unknown name.
    """
    if environment == SIMPLE_MAZE:
        tiles = simple_maze.all_tiles()[simple_maze.START]
    else:
        tiles = labyrinth.tiles(labyrinth.generate(np.random.default_rng(seed), 1))[0]
    kind = DEFAULT_OBSERVATION[environment]  # type: ignore[index]
    pictures = [Observer(environment, kind, domain)(tiles)[0] for domain in domains]
    rows, columns = (np.arange(size) for size in pictures[0].shape)
    return xr.Dataset(
        {"picture": labelled(("domain", "row", "column"), np.stack(pictures), "observation")},
        coords={
            "domain": labelled(["domain"], list(domains), "visual domain"),
            "row": labelled(["row"], rows, "row of the picture", "pixels"),
            "column": labelled(["column"], columns, "column of the picture", "pixels"),
        },
        attrs={"environment": environment, "observation": kind},
    )


def pictures_figure(pictures: xr.Dataset, *, title: str = "") -> Figure:
    """Draw what an agent sees of one maze in several domains, side by side on one scale of grey.

    Args:
        pictures: see `maze_pictures`.
        title: above the panels.
    """
    values = pictures.picture.values
    reach = float(np.abs(values).max())
    with paper_style():
        count = len(values)
        size = (COLUMN, COLUMN / count + 0.05 + (0.2 if title else 0))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, count, squeeze=False)[0]
        for axes, domain, picture in zip(panels, pictures.domain.values, values, strict=True):
            mesh = draw_pixels(axes, picture, low=-reach, high=reach)
            axes.set_title(str(domain))
        bar = as_vectors(figure.colorbar(mesh, ax=list(panels), shrink=0.7, aspect=14, pad=0.03))
        bar.set_ticks([-reach, 0, reach])
        bar.set_label("value of a pixel")
        if title:
            figure.suptitle(title, fontsize=9)
        return settle(figure)
