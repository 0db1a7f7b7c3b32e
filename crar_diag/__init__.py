"""Train CRAR agents, transfer them, and find out why some transfers fail."""

from crar_diag.version import __version__

__all__ = ["__version__"]
