"""Which versions made a file."""

import platform
from importlib.metadata import version

from crar_diag.version import __version__


def library_versions() -> dict[str, str]:
    """Return the versions of Python, this package and the libraries that decide its numbers."""
    return {
        "python": platform.python_version(),
        "crar-diag": __version__,
        **{name: version(name) for name in ("torch", "numpy", "numba")},
    }
