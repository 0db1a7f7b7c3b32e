"""`crar-diag landscape`."""

EXAMPLE = ""


def command() -> None:
    """Not written yet."""
