"""Where a page can be written."""

from pathlib import Path
from typing import Final

from crar_diag.errors import InputError, did_you_mean

FORMATS: Final = (".html", ".htm")


def check_page_place(path: str | Path) -> None:
    """Refuse, before any work, a file name that no page can have.

    Raises:
        InputError: its ending is none of `FORMATS`, its folder is not there, or a folder has it.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"page '{path}': expected a name that ends in {' or '.join(FORMATS)}, found "
            f"'{path.suffix}'{did_you_mean(path.suffix, FORMATS)}"
        )
    if not path.parent.is_dir():
        raise InputError(f"page '{path}': there is no folder '{path.parent}'")
    if path.exists() and not path.is_file():
        raise InputError(f"page '{path}': expected a file or a new name, found a folder")
