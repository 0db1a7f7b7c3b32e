"""How long pages take to load in a headless Chromium: python -m benchmarks.page PAGE.html..."""

import statistics
import sys
import tempfile
from pathlib import Path

from tests.report.page.browser import browser

REPEATS = 5


def main() -> None:
    """Print each page's size and the median time until all of it is drawn."""
    for name in sys.argv[1:]:
        path, seconds = Path(name).resolve(), []
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as page:
                page.open(path)
                drawn = page.run("return document.documentElement.dataset.drawn")
                seconds.append(int(drawn) / 1000)
        size = path.stat().st_size / 1e6
        print(f"{name}: {size:.2f} MB, {statistics.median(seconds):.1f} s until all is drawn")


if __name__ == "__main__":
    main()
