"""How figures look and are saved: for the columns of common venues, in vectors, fonts embedded."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure

from crar_diag.agent.storage import replacing
from crar_diag.errors import InputError, did_you_mean

COLUMN: Final = 3.25
"""Width of a column, inches (ICML 3.25, IEEE 3.5, NeurIPS half of 5.5)."""
PAGE: Final = 6.75
"""Width of a page, inches."""

FORMATS: Final = (".pdf", ".svg", ".png")

# Okabe and Ito's palette: colour-blind readers tell its colours apart.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE, YELLOW = "#E69F00", "#56B4E9", "#CC79A7", "#F0E442"

LOSS_COLOURS: Final = {
    "sum": "black",
    "transition": BLUE,
    "reward": SKY,
    "discount": PURPLE,
    "volume": VERMILION,
    "random_pairs": ORANGE,
    "consecutive_pairs": GREEN,
    "q": "#888888",
}
LOSS_LABELS: Final = {
    "sum": "weighted sum",
    "transition": r"transition $L_p$",
    "reward": r"reward $L_R$",
    "discount": r"discount $L_\gamma$",
    "volume": r"volume $L_{d2}$",
    "random_pairs": r"random pairs $L_{d1}$",
    "consecutive_pairs": r"consecutive pairs $L'_{d1}$",
    "q": r"Q $L_Q$",
}

_SETTINGS: Final[dict[Any, Any]] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # TrueType, whole: what venues ask for
    "svg.fonttype": "path",
    "svg.hashsalt": "crar-diag",  # equal figures are equal files
    "savefig.dpi": 300,
}

# It says on standard error that one of matplotlib's own fonts (cmsy10, of primes) is very old.
logging.getLogger("fontTools.ttLib.tables._h_e_a_d").setLevel(logging.ERROR)


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw in the style of a paper within the block."""
    with mpl.rc_context(_SETTINGS):
        yield


def check_format(path: str | Path) -> None:
    """Refuse, before any work, a file name that no figure can be saved under.

    Raises:
        InputError: its ending is none of `FORMATS`, or its folder is not there.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"figure '{path}': expected a name that ends in {', '.join(FORMATS)}, found "
            f"'{path.suffix}'{did_you_mean(path.suffix, FORMATS)}"
        )
    if not path.parent.is_dir():
        raise InputError(f"figure '{path}': there is no folder '{path.parent}'")


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save a figure as PDF, SVG or PNG, by the name's ending; all or nothing.

    Raises:
        InputError: another ending, or no such folder.
        StorageError: the file system refused.
    """
    check_format(path)
    kind = Path(path).suffix.lower()[1:]
    # Without a date, equal figures are equal files.
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[kind]
    with paper_style(), replacing(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=metadata)
