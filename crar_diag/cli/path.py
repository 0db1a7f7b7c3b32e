"""`crar-diag path`."""

EXAMPLE = ""


def command() -> None:
    """Not written yet."""
