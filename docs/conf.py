"""Settings of the documentation: `make docs` builds it, `make docs-links` asks other sites."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

from crar_diag.version import __version__

project = "crar-diag"
author = "The crar-diag authors"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "plain_docstrings",
    "generated_pages",
    "mathml",
]
exclude_patterns = ["extensions"]
html_theme = "furo"
html_math_renderer = "mathml"
html_title = f"crar-diag {release}"
html_show_sphinx = False
html_copy_source = False

# Headings can be linked to as GitHub has it, and every such link is checked.
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath", "amsmath"]

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

linkcheck_timeout = 20
linkcheck_retries = 2
