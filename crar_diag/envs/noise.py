r"""Gaussian noise that is a function of the picture it is laid over.

A picture `o` of `P` pixels is hashed to one 64-bit key; splitmix64 in counter mode turns the key
into words; each word carries two Box-Muller pairs:

$$ n_{2i} = \sqrt{-2 \ln u_{2i}} \cos 2\pi u_{2i+1}, \quad
   n_{2i+1} = \sqrt{-2 \ln u_{2i}} \sin 2\pi u_{2i+1} $$

with each `u` of 16 bits. Equal states therefore keep equal observations, a state is still a point
and not a distribution, and expectations over all states stay exact.

The square root and the sines are read from tables of 65,536 float32 values rather than computed:
libraries differ in the last bit of a logarithm, and the noise must be the same to the last bit in
NumPy and in torch, on every device.
"""

from functools import lru_cache
from typing import Any, Final

import numpy as np

from crar_diag.envs.arrays import ArrayT, Constant, namespace

_LEVELS: Final = 1 << 16
_GOLDEN: Final = 0x9E3779B97F4A7C15
_uniform = (np.arange(_LEVELS) + 0.5) / _LEVELS
_RADIUS: Final = Constant(np.sqrt(-2.0 * np.log(_uniform)).astype(np.float32))
_COSINE: Final = Constant(np.cos(2.0 * np.pi * _uniform).astype(np.float32))
_SINE: Final = Constant(np.sin(2.0 * np.pi * _uniform).astype(np.float32))

LARGEST_NOISE: Final = float(_RADIUS.array.max())
"""No standard normal number of this module is farther from 0 (4.86): 16 bits have no far tail."""


def _signed(value: int) -> int:
    """Return the int64 with the bits of an unsigned 64-bit `value`."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _shifted(values: Any, bits: int) -> Any:
    """Shift right and fill with zeros; int64's own shift would copy the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def splitmix64(states: ArrayT) -> ArrayT:
    """Advance each splitmix64 state once and return the outputs (Steele, Lea, Flood, 2014).

    Args:
        states: int64 of any shape but (), holding unsigned 64-bit states bit by bit (torch has no
            arithmetic on uint64).

    Returns:
        int64, same shape, kind and device: the outputs, bit by bit.
    """
    mixed: Any = states
    mixed = mixed + _signed(_GOLDEN)
    mixed = (mixed ^ _shifted(mixed, 30)) * _signed(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ _shifted(mixed, 27)) * _signed(0x94D049BB133111EB)
    return mixed ^ _shifted(mixed, 31)


def counter_words(seed: int, count: int) -> np.ndarray:
    """Return the first `count` outputs of splitmix64 started at `seed`.

    NumPy's own generators may change their streams between releases; this one cannot.

    Args:
        seed: the start state, 0 <= seed < 2**63.
        count: how many words.

    Returns:
        int64 (count,), unsigned outputs bit by bit.
    """
    return splitmix64(_counters(count) + seed)


def _counters(count: int) -> np.ndarray:
    """Return 0, 1, 2, ... times the golden gamma, wrapped to 64 bits: the successive states."""
    return np.arange(count, dtype=np.int64) * _signed(_GOLDEN)


@lru_cache(maxsize=16)
def _weights(pixels: int) -> Constant:
    return Constant(counter_words(1, pixels) | 1)


@lru_cache(maxsize=16)
def _steps(words: int) -> Constant:
    return Constant(_counters(words))


def picture_noise(pictures: ArrayT) -> ArrayT:
    """Return standard normal noise for each picture, a fixed function of its pixels.

    Args:
        pictures: float32 (..., H, W).

    Returns:
        float32 (..., H, W), same kind and device, within `LARGEST_NOISE` of 0. Equal pictures get
        equal noise, bit by bit, in NumPy and torch.
    """
    values: Any = pictures
    xp = namespace(values)
    pixels = values.shape[-1] * values.shape[-2]
    flat = values.reshape(*values.shape[:-2], pixels)
    # -0.0 and 0.0 are the same picture, but not the same bits; adding 0.0 makes both 0.0.
    bits = (xp.asarray(flat, dtype=xp.float32) + 0.0).view(xp.int32)
    # Short numbers such as 0.5 have only zeros in their low bits, and a weighted sum would keep
    # them there; the high bits are copied down first.
    bits = xp.asarray(bits ^ (bits >> 16), dtype=xp.int64)
    key = splitmix64((bits * _weights(pixels).like(values)).sum(axis=-1, keepdims=True))
    words = splitmix64(key + _steps(-(-pixels // 4)).like(values))
    radius, cosine, sine = (table.like(values) for table in (_RADIUS, _COSINE, _SINE))
    normals = []
    for low in (0, 32):
        length = radius[(words >> low) & (_LEVELS - 1)]
        angle = (words >> (low + 16)) & (_LEVELS - 1)
        normals += [length * cosine[angle], length * sine[angle]]
    noise = xp.stack(normals, axis=-1).reshape(*flat.shape[:-1], -1)
    return noise[..., :pixels].reshape(values.shape)
