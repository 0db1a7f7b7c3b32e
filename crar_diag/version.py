"""The version, alone in a module without imports so that building and `--help` stay light."""

__version__ = "0.1.0"
