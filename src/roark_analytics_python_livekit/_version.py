"""The package's version, as `pyproject.toml` has it too (a test compares them)."""

__version__ = "0.2.0.dev0"
