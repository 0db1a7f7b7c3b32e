"""What an agent sees of a state: one environment, one kind of observation, one visual domain."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from crar_diag.envs.arrays import ArrayT, Constant, namespace
from crar_diag.envs.domains import Domain, get_domain
from crar_diag.envs.rendering import picture_shape, render, sprite_table
from crar_diag.envs.tiles import EMPTY, GRID_SIZE, PATH
from crar_diag.errors import InputError


@dataclass(frozen=True)
class Observer:
    """A function from tile codes to observations.

    Two observers with the same three names are equal.

    Args:
        environment: one of `ENVIRONMENTS`.
        observation: 'symbolic' (1, 8, 8) or 'pixels' (1, 48, 48); `DEFAULT_OBSERVATION` has the
            paper's choice.
        domain: one of `domain_names()`.

    Raises:
        InputError: a name is unknown, or the domain's function does not keep the shape.
    """

    environment: str
    observation: str
    domain: str = "normal"

    def __post_init__(self) -> None:
        before = sprite_table(self.environment, self.observation)
        if not self._domain.tilewise:
            before = render(np.full((GRID_SIZE, GRID_SIZE), PATH), before)
        after = np.asarray(self._domain(before))
        if after.shape != before.shape or after.dtype != np.float32:
            raise InputError(
                f"expected the domain '{self.domain}' to return float32 {before.shape}, "
                f"found {after.dtype} {after.shape}"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        # Tables on an accelerator must not travel with a copy that is sent to another process.
        return Observer, (self.environment, self.observation, self.domain)

    @cached_property
    def _domain(self) -> Domain:
        return get_domain(self.domain)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one observation: (1, 8, 8) or (1, 48, 48)."""
        return picture_shape(self.observation)

    @property
    def tilewise(self) -> bool:
        """Whether `table` alone says how a maze looks, one sprite a tile."""
        return self._domain.tilewise

    @property
    def table(self) -> np.ndarray:
        """The sprite table, float32 (5, s, s): the domain's own if `tilewise`, else the normal one.

        Its last row, `EMPTY`, is zero in every domain. Shared: do not write into it.
        """
        return self._table.array

    @cached_property
    def _table(self) -> Constant:
        table = sprite_table(self.environment, self.observation)
        if self._domain.tilewise:
            table = np.array(self._domain(table), dtype=np.float32)
            table[EMPTY] = 0.0
        return Constant(table)

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest value that an observation can have."""
        margin = 0.0 if self.tilewise else self._domain.margin
        return float(self.table.min()) - margin, float(self.table.max()) + margin

    def __call__(self, tiles: ArrayT) -> ArrayT:
        """Return the observations of states.

        Args:
            tiles: integer tile codes (..., 8, 8), NumPy or torch. A grid of `EMPTY` is a missing
                picture; it gives zeros in every domain.

        Returns:
            float32 (..., 1, H, W), the kind and device of `tiles`.

        Raises:
            InputError: `tiles` is not made of 8 x 8 grids.
        """
        pictures = render(tiles, self._table.like(tiles))
        if self.tilewise:
            return pictures
        codes: Any = tiles
        seen = (codes[..., 0, 0] != EMPTY)[..., None, None, None]
        # A missing picture is zero before the domain changes it, and stays so.
        result: ArrayT = namespace(codes).where(seen, self._domain(pictures), pictures)
        return result
