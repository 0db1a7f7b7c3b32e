"""Visual domains: the same maze, drawn differently.

Every domain is a deterministic function of the picture. An agent is trained in one and transferred
to another; `inverse` is the paper's target (section 5, figures 3 and 4).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np

from crar_diag.envs.arrays import ArrayT, Constant, namespace
from crar_diag.envs.noise import LARGEST_NOISE, counter_words, picture_noise
from crar_diag.envs.tiles import EMPTY, KEY, PATH, PLAYER, WALL
from crar_diag.errors import InputError, did_you_mean

NOISE_SIGMA: Final = 0.1
PERMUTATION_SEED: Final = 2111
"""Any number would do; this one is fixed so that every run means the same domain."""


@dataclass(frozen=True)
class Domain:
    """One way to draw a maze.

    Args:
        name: what users write.
        description: one line for people.
        transform: the function. It takes NumPy arrays and torch tensors alike and returns float32
            of the same kind, shape and device. If `tilewise`, it takes a sprite table
            (..., 5, s, s), one sprite a tile code (`rendering.sprite_table`); else it takes
            pictures (..., 1, H, W).
        tilewise: the picture is still made of one sprite a tile at the tile's own place, so that a
            transformed sprite table does the whole job.
        margin: how far a transformed picture may leave the range of values of the normal one;
            only used where not `tilewise`, for the bounds of observation spaces.
    """

    name: str
    description: str
    transform: Callable[[Any], Any]
    tilewise: bool = False
    margin: float = 0.0

    def __call__(self, values: ArrayT) -> ArrayT:
        """Apply `transform`.

        Args:
            values: a sprite table if `tilewise`, else pictures; the pixelwise domains `normal` and
                `inverse` take either.

        Returns:
            The transformed values: same kind, shape and device.
        """
        result: ArrayT = self.transform(values)
        return result


def _normal(values: Any) -> Any:
    return values


def _inverse(values: Any) -> Any:
    # Not `-values`: the negative of 0.0 would be -0.0, whose bits are another picture.
    return 0.0 - values


_SWAPS: Final = {PATH: WALL, WALL: PATH, PLAYER: KEY, KEY: PLAYER, EMPTY: EMPTY}
_SWAPPED: Final = [_SWAPS[code] for code in sorted(_SWAPS)]


def _swapped(table: Any) -> Any:
    return table[..., _SWAPPED, :, :]


@lru_cache(maxsize=16)
def _permutation(pixels: int) -> Constant:
    return Constant(np.argsort(counter_words(PERMUTATION_SEED, pixels), kind="stable"))


def _permuted(pictures: Any) -> Any:
    *leading, height, width = pictures.shape
    flat = pictures.reshape(*leading, height * width)
    return flat[..., _permutation(height * width).like(pictures)].reshape(pictures.shape)


def _rotated(pictures: Any) -> Any:
    xp = namespace(pictures)
    turned = xp.rot90(pictures, 1, (-2, -1))
    return np.ascontiguousarray(turned) if xp is np else turned.contiguous()


def _noisy(pictures: Any) -> Any:
    return pictures + NOISE_SIGMA * picture_noise(pictures)


_DOMAINS: dict[str, Domain] = {}


def register_domain(domain: Domain) -> None:
    """Add a domain, which every command and class then knows by its name.

    Args:
        domain: the new domain.

    Raises:
        InputError: its name is empty or taken.
    """
    if not domain.name:
        raise InputError("expected a domain with a name, found an empty one")
    if domain.name in _DOMAINS:
        raise InputError(f"expected a new name for a domain, found '{domain.name}', which exists")
    _DOMAINS[domain.name] = domain


def get_domain(name: str) -> Domain:
    """Return a registered domain.

    Args:
        name: one of `domain_names()`.

    Returns:
        The domain.

    Raises:
        InputError: the name is unknown.
    """
    if name not in _DOMAINS:
        raise InputError(f"unknown domain '{name}'{did_you_mean(str(name), _DOMAINS)}")
    return _DOMAINS[name]


def domain_names() -> tuple[str, ...]:
    """Return the names of all registered domains, in the order of registration."""
    return tuple(_DOMAINS)


for _domain in (
    Domain("normal", "as the paper's base models see it", _normal, tilewise=True),
    Domain("inverse", "every value negated, o' = -o", _inverse, tilewise=True),
    Domain(
        "swapped",
        "path drawn as wall and wall as path, the player as a key and keys as the player "
        "(the simple maze, which has no keys, keeps its player)",
        _swapped,
        tilewise=True,
    ),
    Domain("permuted", "the pixels in one fixed shuffled order", _permuted),
    Domain("rotated", "turned by 90 degrees against the clock, actions unchanged", _rotated),
    Domain(
        "noise",
        "Gaussian noise of standard deviation 0.1, one fixed pattern a picture",
        _noisy,
        margin=NOISE_SIGMA * LARGEST_NOISE,
    ),
):
    register_domain(_domain)
