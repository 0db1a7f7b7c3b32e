"""`crar-diag curvature`."""

EXAMPLE = ""


def command() -> None:
    """Not written yet."""
