"""Made-up scores of runs, as files and as labelled data."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xarray as xr

from crar_diag.report.score_table import COLUMNS, read_scores

PAPER = Path(__file__).parents[2] / "examples" / "data" / "paper_transfer_scores.csv"
HEADER = ",".join(COLUMNS)

Run = tuple[str, str, int, float]
Curve = Mapping[int, Any] | Iterable[Any]


def written(path: Path, runs: Mapping[Run, Curve]) -> Path:
    """Write runs, their scores by epoch, or in a row from epoch 1."""
    lines = [HEADER]
    for (approach, base, seed, rate), curve in runs.items():
        scores = curve if isinstance(curve, Mapping) else dict(enumerate(curve, 1))
        lines += [f"{approach},{base},{seed},{rate},{e},{s}" for e, s in scores.items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def history(path: Path, runs: Mapping[Run, Curve]) -> xr.Dataset:
    return read_scores(written(path, runs))


def level(score: float, epochs: int = 20) -> list[float]:
    """A curve whose last scores, and all others, have this mean."""
    return [score + (0.5 if k % 2 else -0.5) for k in range(epochs)]
