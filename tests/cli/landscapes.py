"""Agents and grids that the tests of `crar-diag landscape` share."""

from pathlib import Path

from tests.runs import BASES

NAME = "original-base-seed0-lr8e-05-seed"
A, B, C = (BASES / "transfers" / f"{NAME}{seed}.safetensors" for seed in (12, 17, 20))
"""Transfers of one base model: a correct one, a wrong one, one that is not finished."""
LABEL = f"{A.stem}-to-{B.stem}"

FROZEN = ["--dynamics", "frozen"]
LINE = ["--mode", "line", "--points", 7]
PLANE = ["--mode", "random-plane", "--points", 7]
REFIT = ["--refit-iterations", 5]


def partials(folder: Path) -> list[str]:
    """Return the files that keep what is not finished, those of killed writes apart."""
    return sorted(path.name for path in folder.glob("*.partial") if path.name[0] != ".")
