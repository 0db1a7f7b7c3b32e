"""The worked example of the paper's appendix A, recomputed: the numbers of figures 12 and 14.

The encoder of the example reads one pixel: e(o) = (a o[r, c], b o[r, c]), where (r, c) is the tile
of the player and a and b are chosen so that the base model's picture of that state has the base's
embedding. On the negated picture of the same state it gives the negative of that.
"""

from typing import Final

import numpy as np
import xarray as xr

from crar_diag.agent.history import labelled
from crar_diag.envs import simple_maze
from crar_diag.envs.names import SIMPLE_MAZE, SYMBOLIC
from crar_diag.envs.observer import Observer
from crar_diag.errors import InputError

Place = tuple[int, int]

START: Final[Place] = (2, 3)
"""Row and column of the player whose state is encoded."""
AFTER_UP: Final[Place] = (1, 3)
"""The same after the action up."""
EMBEDDINGS: Final[dict[Place, tuple[float, float]]] = {START: (-0.5, 0.0), AFTER_UP: (-0.5, 0.5)}
"""The base model's embedding of the two states, as the paper rounds it (figure 11, left)."""
UNROUNDED: Final = (-0.6, 0.2)
"""The base model's embedding of the first state, unrounded."""
UP: Final = (0.0, 0.5)
"""What the action up adds to an embedding, by the lines of the paper's figure 11: a room is six
states high, of which neighbours are about half a unit apart."""
DOMAINS: Final = ("normal", "inverse")


def simple_encoding(place: Place, embedding: tuple[float, float]) -> np.ndarray:
    """Return the factors of an encoder that reads one pixel, `[2, 8, 8]`.

    It gives the base model's picture of the player at that place the embedding that is asked for:
    (-0.5, 0) from the pixel's value 0.5 asks for the factors -1 and 0 (appendix A.1).

    Args:
        place: row and column of the pixel, where the player stands.
        embedding: what is asked for.

    Raises:
        InputError: the player cannot stand there.
    """
    picture = observed(place, "normal")
    factors = np.zeros((2, *picture.shape))
    factors[:, place[0], place[1]] = np.divide(embedding, picture[place])
    return factors


def observed(place: Place, domain: str) -> np.ndarray:
    """Return what an agent sees with the player at a place, float64 `[8, 8]`.

    Raises:
        InputError: the player cannot stand there, or there is no such domain.
    """
    rows = np.flatnonzero((np.array(place) == simple_maze.STATES).all(axis=1))
    if not len(rows):
        raise InputError(f"expected a free cell of the simple maze, found {place}")
    tiles = simple_maze.all_tiles()[rows[0]]
    picture: np.ndarray = Observer(SIMPLE_MAZE, SYMBOLIC, domain)(tiles)[0].astype(np.float64)
    return picture


def encode(factors: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """Return e(o) = sum_rc F_rc o_rc, `[2]`, of factors `[2, 8, 8]` and a picture `[8, 8]`."""
    return np.asarray(np.einsum("krc,rc->k", factors, picture) + 0.0)  # -0 reads badly


def to_quarters(embedding: np.ndarray) -> np.ndarray:
    """Return an embedding rounded to quarters, as the paper reads its figure 11."""
    return np.round(4 * np.asarray(embedding)) / 4 + 0.0


def worked_example() -> xr.Dataset:
    """Compute the example of figures 12 and 14.

    Returns:
        Over `place` (the player before and after up) and `domain` the `picture` over `row` and
        `column`, and its `embedding` by that state's encoder, of which `factor` is what it
        multiplies the player's pixel with. In the inverse domain: `begun`, the
        embedding of the first state, unrounded as the paper takes it there, which is the negative
        of the base's to the nearest quarter; `predicted`, that plus what up adds; `expected`, the
        embedding of the state after up; and `distance`, between the latter two. Its square is the
        transition loss of this step, ||x + p(x, a) - x'||^2.
    """
    places = (START, AFTER_UP)
    pictures = np.array([[observed(place, domain) for domain in DOMAINS] for place in places])
    encoders = [simple_encoding(place, EMBEDDINGS[place]) for place in places]
    factors = np.array([own[:, r, c] for own, (r, c) in zip(encoders, places, strict=True)])
    embeddings = np.array(
        [
            [encode(encoder, picture) for picture in own]
            for encoder, own in zip(encoders, pictures, strict=True)
        ]
    )
    begun = to_quarters(encode(simple_encoding(START, UNROUNDED), observed(START, "inverse")))
    predicted, expected = begun + UP, embeddings[1, 1]
    point = {
        "begun": (begun, "embedding of the first state in the inverse domain, in quarters"),
        "predicted": (predicted, "next embedding that the frozen transition function predicts"),
        "expected": (expected, "embedding of the next state in the inverse domain"),
    }
    axes = ("place", "domain")
    size = np.arange(pictures.shape[-1])
    return xr.Dataset(
        {
            "picture": labelled((*axes, "row", "column"), pictures, "observation"),
            "embedding": labelled((*axes, "coordinate"), embeddings, "embedding by the encoder"),
            "factor": labelled(
                ("place", "coordinate"), factors, "what the encoder multiplies the pixel with"
            ),
            **{name: labelled(["coordinate"], *about) for name, about in point.items()},
            "distance": labelled(
                (), np.linalg.norm(predicted - expected), "from the predicted to the expected one"
            ),
        },
        coords={
            "place": labelled(["place"], ["before", "after up"], "when the player stands there"),
            "player_row": labelled(["place"], [row for row, _ in places], "row of the player"),
            "player_column": labelled(["place"], [c for _, c in places], "column of the player"),
            "domain": labelled(["domain"], list(DOMAINS), "visual domain"),
            "row": labelled(["row"], size, "row of the picture", "pixels"),
            "column": labelled(["column"], size, "column of the picture", "pixels"),
            "coordinate": labelled(["coordinate"], [1, 2], "coordinate of the abstract state"),
        },
    )
