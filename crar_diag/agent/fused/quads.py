"""The labyrinth encoder's first layers, once for each 2 x 2 square of tiles that occurs.

conv 2x2, conv 2x2, pool 2, conv 3x3, pool 3 on pictures made of tiles of 6 x 6 pixels. After the
first pooling the 3 x 3 features of a tile depend only on its quad: the tile and its right, lower
and lower-right neighbours. There are 184 different quads in all the labyrinth's data, but 64 tiles
in every picture, so each quad's features are computed once, and once what they contribute to the
third convolution around the tile: 5 x 5 positions. A picture is then the sum of its tiles'
contributions. The maximum is taken before tanh, which is increasing.
"""

from typing import Any, NamedTuple

import numpy as np

from crar_diag.agent.fused.arithmetic import (
    add_bias,
    add_run,
    copy_run,
    sum_rows,
    tanh,
    through_tanh,
)
from crar_diag.agent.fused.compiling import borrowing, inlined, jit

GRID = 8
"""Tiles along the edge of a picture."""

TILE = 6
"""Pixels along the edge of a tile."""

SEEN = TILE + 2
"""Pixels along the edge of what a quad's features see."""

_FIRST, _SECOND, _AFTER, _REACH = TILE + 1, TILE, TILE // 2, TILE // 2 + 2
_WIDTH = GRID * _AFTER + 2  # positions of the third convolution along an edge, and one beyond

# Quads whose unrolled patches stay in the cache.
_SOME = 32


class Quads(NamedTuple):
    """The pictures of a data set by their quads.

    Attributes:
        of_picture: `[K, 64]`, the number of each tile's quad.
        seen: `[quads, 8, 8]`, the pixels that its features depend on.
        inside: `[quads, 2]`, whether the picture goes on at the right and below.
    """

    of_picture: Any
    seen: Any
    inside: Any


class Trunk(NamedTuple):
    """The channels of the three convolutions and the number of their parameters; 0 for none."""

    first: int
    second: int
    third: int
    parameters: int


class TrunkWork(NamedTuple):
    """Scratch memory; q: quads in the batch, n: pictures."""

    place: Any  # [quads] of -1
    used: Any  # [q], the quads that occur
    of_tile: Any  # [n, 64], each tile's quad among those
    first: Any  # [q, 7, 7, channels], the first convolution
    chosen: Any  # [q, 3, 3, channels], which of four positions the first pooling took
    features: Any  # [q, 3, 3, channels], the first pooling
    dfeatures: Any
    parts: Any  # [q + 1, 5, 5, channels], contributions to the third convolution; the last has none
    dparts: Any
    kernel: Any  # [inputs, 9 channels], the third one's places in reversed order
    dkernel: Any
    taps: Any  # [some, 3, 3, 9 channels], what each place contributes, in the same order
    strip: Any  # [3, 26, channels], one row of tiles in the third convolution
    taken: Any  # [n, 64, channels], which of nine positions the second pooling took
    patches: Any  # [some, 6, 6, 4 channels]
    dpatches: Any
    second: Any  # [some, 6, 6, channels]


@jit
def trunk_workspace(theta: Any, trunk: Any, table: Any, n: int) -> Any:
    """Return scratch memory for n pictures; next to none without a trunk."""
    kind = theta.dtype
    quads = len(table.seen)
    n = n if trunk.parameters else 0
    q = min(quads, n * GRID * GRID)
    some = min(q, _SOME)
    return TrunkWork(
        np.full(quads, -1, np.int64),
        np.empty(quads, np.int64),
        np.empty((n, GRID * GRID), np.int64),
        np.empty((q * _FIRST * _FIRST, trunk.first), kind),
        np.empty((q * _AFTER * _AFTER, trunk.second), np.int64),
        np.empty((q * _AFTER * _AFTER, trunk.second), kind),
        np.empty((q * _AFTER * _AFTER, trunk.second), kind),
        np.empty((q + 1, _REACH, _REACH * trunk.third), kind),
        np.empty((q, _REACH, _REACH * trunk.third), kind),
        np.empty((trunk.second, 9 * trunk.third), kind),
        np.empty((trunk.second, 9 * trunk.third), kind),
        np.empty((some * _AFTER * _AFTER, 9 * trunk.third), kind),
        np.empty((3, _WIDTH * trunk.third), kind),
        np.empty((n * GRID * GRID, trunk.third), np.int32),
        np.empty((some * _SECOND * _SECOND, 4 * trunk.first), kind),
        np.empty((some * _SECOND * _SECOND, 4 * trunk.first), kind),
        np.empty((some * _SECOND * _SECOND, trunk.second), kind),
    )


@jit
def _weights(theta: Any, trunk: Any) -> Any:
    """Return the three kernels `[places, inputs, outputs]` and biases as views."""
    one, two, three = trunk.first, trunk.second, trunk.third
    a = 4 * one
    b = a + one
    c = b + 4 * one * two
    d = c + two
    e = d + 9 * two * three
    return (
        theta[:a].reshape(4, one),
        theta[a:b],
        theta[b:c].reshape(4 * one, two),
        theta[c:d],
        theta[d:e].reshape(9, two, three),
        theta[e : e + three],
    )


@jit
def _find_quads(table: Any, picks: Any, n: int, w: Any) -> int:
    """Number the quads of some pictures; return how many there are."""
    q = 0
    for c in range(n):
        for t in range(GRID * GRID):
            quad = table.of_picture[picks[c], t]
            if w.place[quad] < 0:
                w.place[quad] = q
                w.used[q] = quad
                q += 1
            w.of_tile[c, t] = w.place[quad]
    for k in range(q):
        w.place[w.used[k]] = -1
    return q


@jit
def _pixel_patches(table: Any, quads: Any, patches: Any) -> None:
    """Put the 2 x 2 patches of the quads' pixels into `patches`, `[quads * 49, 4]`."""
    row = 0
    for k in range(len(quads)):
        pixels = table.seen[quads[k]]
        for y in range(_FIRST):
            for x in range(_FIRST):
                patches[row, 0] = pixels[y, x]
                patches[row, 1] = pixels[y, x + 1]
                patches[row, 2] = pixels[y + 1, x]
                patches[row, 3] = pixels[y + 1, x + 1]
                row += 1


@jit
def _clear_outside(table: Any, w: Any, q: int, values: Any) -> None:
    """Zero the first convolution's positions, `[q * 49, channels]`, outside of the picture."""
    for k in range(q):
        right, below = table.inside[w.used[k]]
        for y in range(_FIRST):
            for x in range(_FIRST):
                if (x == _FIRST - 1 and not right) or (y == _FIRST - 1 and not below):
                    values[(k * _FIRST + y) * _FIRST + x] = 0


@jit
def _feature_patches(w: Any, start: int, stop: int, channels: int) -> None:
    """Put the 2 x 2 patches of the first convolution of some quads into `w.patches`."""
    row = 0
    for k in range(start, stop):
        for y in range(_SECOND):
            for x in range(_SECOND):
                for place in range(4):
                    source = (k * _FIRST + y + place // 2) * _FIRST + x + place % 2
                    for c in range(channels):
                        w.patches[row, place * channels + c] = w.first[source, c]
                row += 1


@jit
def _quad_features(theta: Any, trunk: Any, table: Any, q: int, w: Any) -> None:
    """Fill `w.first`, `w.features` and `w.chosen`."""
    one, bias_one, two, bias_two, _, _ = _weights(theta, trunk)
    pixels = q * _FIRST * _FIRST
    patches = np.empty((pixels, 4), theta.dtype)
    _pixel_patches(table, w.used[:q], patches)
    np.dot(patches, one, w.first[:pixels])
    add_bias(w.first[:pixels], bias_one)
    tanh(w.first[:pixels].reshape(pixels * trunk.first))
    _clear_outside(table, w, q, w.first)
    for start in range(0, q, _SOME):
        stop = min(start + _SOME, q)
        rows = (stop - start) * _SECOND * _SECOND
        _feature_patches(w, start, stop, trunk.first)
        np.dot(w.patches[:rows], two, w.second[:rows])
        for k in range(stop - start):
            for y in range(_AFTER):
                for x in range(_AFTER):
                    at = ((start + k) * _AFTER + y) * _AFTER + x
                    for c in range(trunk.second):
                        best, value = 0, w.second[(k * _SECOND + 2 * y) * _SECOND + 2 * x, c]
                        for place in range(1, 4):
                            row = (k * _SECOND + 2 * y + place // 2) * _SECOND
                            other = w.second[row + 2 * x + place % 2, c]
                            if other > value or other != other:
                                best, value = place, other
                        w.chosen[at, c] = best
                        w.features[at, c] = value + bias_two[c]
    tanh(w.features[: q * _AFTER * _AFTER].reshape(q * _AFTER * _AFTER * trunk.second))


@jit
def _reverse_places(theta: Any, trunk: Any, kernel: Any) -> None:
    """Fill `kernel` with the third kernel, `[inputs, 9 outputs]`, its last place first.

    What is seen at place (i, j) of the kernel contributes to position (-i, -j): in this order what
    three places of a row contribute to three positions lies as these do.
    """
    three, o = _weights(theta, trunk)[4], trunk.third
    for place in range(9):
        for f in range(trunk.second):
            for c in range(o):
                kernel[f, (8 - place) * o + c] = three[place, f, c]


@jit
def _contributions(theta: Any, trunk: Any, q: int, w: Any) -> None:
    """Fill `w.parts`."""
    _reverse_places(theta, trunk, w.kernel)
    run, line = 3 * trunk.third, _REACH * trunk.third
    parts, taps = w.parts.reshape(w.parts.size), w.taps.reshape(w.taps.size)
    w.parts[:q] = 0
    w.parts[-1] = 0
    positions = _AFTER * _AFTER
    for start in range(0, q, _SOME):
        stop = min(start + _SOME, q)
        rows = (stop - start) * positions
        np.dot(w.features[start * positions : stop * positions], w.kernel, w.taps[:rows])
        of = 0
        for k in range(start, stop):
            for y in range(_AFTER):
                for x in range(_AFTER):
                    for i in range(3):
                        to = (k * _REACH + y + i) * line + x * trunk.third
                        add_run(taps, of, parts, to, run)
                        of += run


@borrowing
def _place_tiles(quads: Any, outside: int, around: Any) -> None:
    """Put the rows at which each tile's contributions begin into `around`, `[10, 10]`.

    quads: of the tiles, `[64]`. outside: that of the tiles around the picture.
    """
    around[:] = outside * _REACH * _REACH
    for t in range(GRID * GRID):
        around[t // GRID + 1, t % GRID + 1] = quads[t] * _REACH * _REACH


@inlined
def _larger(value: Any, position: int, best: Any, taken: Any) -> tuple[Any, Any]:
    """Return the larger of two values, or a NaN, and its position."""
    wins = (value > best) | (value != value)
    return value if wins else best, np.int32(position) if wins else taken


@borrowing
def _maxima(parts: Any, around: Any, bias: Any, out: Any, taken: Any) -> None:
    """Take the maximum over each tile's 3 x 3 positions and note which, `[64, channels]` each.

    The middle one has the tile's own contribution alone, an edge a neighbour's too, a corner those
    of three neighbours.

    parts: `[quads * 25, channels]`. around: see `_place_tiles`.
    """
    for t in range(GRID * GRID):
        y, x = t // GRID + 1, t % GRID + 1
        nw, n, ne = around[y - 1, x - 1], around[y - 1, x], around[y - 1, x + 1]
        west, own, east = around[y, x - 1], around[y, x], around[y, x + 1]
        sw, s, se = around[y + 1, x - 1], around[y + 1, x], around[y + 1, x + 1]
        for c in range(bias.size):
            best, place = parts[own + 6, c] + parts[west + 9, c], np.int32(0)
            best += parts[n + 21, c] + parts[nw + 24, c]
            value = parts[own + 7, c] + parts[n + 22, c]
            best, place = _larger(value, 1, best, place)
            value = parts[own + 8, c] + parts[east + 5, c] + parts[n + 23, c] + parts[ne + 20, c]
            best, place = _larger(value, 2, best, place)
            value = parts[own + 11, c] + parts[west + 14, c]
            best, place = _larger(value, 3, best, place)
            best, place = _larger(parts[own + 12, c], 4, best, place)
            value = parts[own + 13, c] + parts[east + 10, c]
            best, place = _larger(value, 5, best, place)
            value = parts[own + 16, c] + parts[west + 19, c] + parts[s + 1, c] + parts[sw + 4, c]
            best, place = _larger(value, 6, best, place)
            value = parts[own + 17, c] + parts[s + 2, c]
            best, place = _larger(value, 7, best, place)
            value = parts[own + 18, c] + parts[east + 15, c] + parts[s + 3, c] + parts[se, c]
            best, place = _larger(value, 8, best, place)
            out[t, c] = best + bias[c]
            taken[t, c] = place


@jit
def run(theta: Any, trunk: Any, table: Any, picks: Any, n: int, out: Any, w: Any) -> None:
    """Fill `out`, `[n, 8, 8, channels]` flat, from the pictures `picks[:n]`."""
    q = _find_quads(table, picks, n, w)
    _quad_features(theta, trunk, table, q, w)
    _contributions(theta, trunk, q, w)
    bias, o = _weights(theta, trunk)[5], trunk.third
    parts = w.parts.reshape(len(w.parts) * _REACH * _REACH, o)
    around = np.empty((GRID + 2, GRID + 2), np.int64)
    values = out.reshape(n * GRID * GRID, o)
    for s in range(n):
        _place_tiles(w.of_tile[s], len(w.parts) - 1, around)
        own = slice(s * GRID * GRID, (s + 1) * GRID * GRID)
        _maxima(parts, around, bias, values[own], w.taken[own])
    tanh(out)


@borrowing
def _give_back(dout: Any, taken: Any, strip: Any, dbias: Any) -> bool:
    """Put the derivative by each maximum where it was; return whether there is any.

    dout, taken: `[8, channels]`. strip: `[3, 26, channels]`.
    """
    zero = strip[0, 0, 0]  # lies outside of the picture; a literal would make the loop double
    largest = zero
    for t in range(GRID):
        for c in range(dbias.size):
            dbias[c] += dout[t, c]
            largest = max(largest, abs(dout[t, c]))
        for y in range(_AFTER):
            for x in range(_AFTER):
                at = t * _AFTER + 1 + x
                for c in range(dbias.size):
                    strip[y, at, c] = dout[t, c] if taken[t, c] == y * _AFTER + x else zero
    return largest != 0


@borrowing
def _add_lines(strip: Any, tiles: Any, row: int, o: int, parts: Any) -> None:
    """Add the derivatives of a row of tiles, in `strip`, to those of their contributions.

    Beside its own three lines, a row of tiles has a line of the row above and one of that below.

    tiles: the quad of each, `[64]`.
    """
    length, width = _REACH * o, _WIDTH * o
    for y in range(-1, _AFTER + 1):
        # The first line is the last of the tiles above, the last one the first of those below.
        owners = row - 1 if y < 0 else row + 1 if y == _AFTER else row
        part = _REACH - 1 if y < 0 else 0 if y == _AFTER else y + 1
        line = min(max(y, 0), _AFTER - 1) * width
        if 0 <= owners < GRID:
            for t in range(GRID):
                to = (tiles[owners * GRID + t] * _REACH + part) * length
                add_run(strip, line + t * _AFTER * o, parts, to, length)


@jit
def _contributions_gradient(trunk: Any, n: int, dout: Any, dbias: Any, w: Any) -> None:
    """Fill `w.dparts` and the third bias's derivative."""
    o = trunk.third
    w.dparts[:] = 0
    dbias[:] = 0
    w.strip[:] = 0  # its first and last position lie outside of the picture and stay zero
    parts, strip = w.dparts.reshape(w.dparts.size), w.strip.reshape(w.strip.size)
    lines, values = w.strip.reshape(_AFTER, _WIDTH, o), dout.reshape(n * GRID * GRID, o)
    for s in range(n):
        for row in range(GRID):
            at = (s * GRID + row) * GRID
            if _give_back(values[at : at + GRID], w.taken[at : at + GRID], lines, dbias):
                _add_lines(strip, w.of_tile[s], row, o, parts)


@jit
def _features_gradient(theta: Any, trunk: Any, q: int, dthree: Any, w: Any) -> None:
    """Fill `w.dfeatures` (before tanh) and the third kernel's derivative."""
    o = trunk.third
    run, line = 3 * o, _REACH * o
    parts, taps = w.dparts.reshape(w.dparts.size), w.taps.reshape(w.taps.size)
    _reverse_places(theta, trunk, w.kernel)
    dkernel, part = w.dkernel, np.empty_like(w.dkernel)
    dkernel[:] = 0
    positions = _AFTER * _AFTER
    for start in range(0, q, _SOME):
        stop = min(start + _SOME, q)
        of = 0
        for k in range(start, stop):
            for y in range(_AFTER):
                for x in range(_AFTER):
                    for i in range(3):
                        source = (k * _REACH + y + i) * line + x * o
                        copy_run(parts, source, taps, of, run)
                        of += run
        features = w.features[start * positions : stop * positions]
        own = w.taps[: (stop - start) * positions]
        np.dot(features.T, own, part)
        dkernel += part
        np.dot(own, w.kernel.T, w.dfeatures[start * positions : stop * positions])
    for place in range(9):
        for f in range(trunk.second):
            for c in range(o):
                dthree[place, f, c] = dkernel[f, (8 - place) * o + c]
    rows = q * positions
    size = rows * trunk.second
    through_tanh(w.dfeatures[:rows].reshape(size), w.features[:rows].reshape(size))


@jit
def _quads_gradient(theta: Any, trunk: Any, table: Any, q: int, grad: Any, w: Any) -> None:
    """Fill the derivatives by the first two convolutions."""
    two = _weights(theta, trunk)[2]
    done, dbias_one, dtwo, dbias_two, _, _ = _weights(grad, trunk)
    channels = trunk.first
    pixels = q * _FIRST * _FIRST
    dfirst = np.zeros((pixels, channels), theta.dtype)
    part = np.empty_like(dtwo)
    dtwo[:] = 0
    dbias_two[:] = 0
    for start in range(0, q, _SOME):
        stop = min(start + _SOME, q)
        rows = (stop - start) * _SECOND * _SECOND
        w.second[:rows] = 0
        for k in range(stop - start):
            for y in range(_AFTER):
                for x in range(_AFTER):
                    at = ((start + k) * _AFTER + y) * _AFTER + x
                    for c in range(trunk.second):
                        place = w.chosen[at, c]
                        row = (k * _SECOND + 2 * y + place // 2) * _SECOND
                        w.second[row + 2 * x + place % 2, c] = w.dfeatures[at, c]
                        dbias_two[c] += w.dfeatures[at, c]
        _feature_patches(w, start, stop, channels)
        np.dot(w.patches[:rows].T, w.second[:rows], part)
        dtwo += part
        np.dot(w.second[:rows], two.T, w.dpatches[:rows])
        row = 0
        for k in range(start, stop):
            for y in range(_SECOND):
                for x in range(_SECOND):
                    for place in range(4):
                        to = (k * _FIRST + y + place // 2) * _FIRST + x + place % 2
                        for c in range(channels):
                            dfirst[to, c] += w.dpatches[row, place * channels + c]
                    row += 1
    _clear_outside(table, w, q, dfirst)
    size = pixels * channels
    through_tanh(dfirst.reshape(size), w.first[:pixels].reshape(size))
    patches = np.empty((pixels, 4), theta.dtype)
    _pixel_patches(table, w.used[:q], patches)
    np.dot(patches.T, dfirst, done)
    sum_rows(dfirst, dbias_one)


@jit
def gradient(
    theta: Any, trunk: Any, table: Any, n: int, out: Any, dout: Any, grad: Any, w: Any
) -> None:
    """Propagate the derivative by `out` of the last `run`; fills the trunk's part of `grad`."""
    q = 0
    for s in range(n):
        for t in range(GRID * GRID):
            q = max(q, w.of_tile[s, t] + 1)
    through_tanh(dout, out)
    _contributions_gradient(trunk, n, dout, _weights(grad, trunk)[5], w)
    _features_gradient(theta, trunk, q, _weights(grad, trunk)[4], w)
    _quads_gradient(theta, trunk, table, q, grad, w)
