"""The version: in Python too, for loading the native core takes longer than to tell it."""

__version__ = "0.1.0"
"""That of Cargo.toml, from which the distributions take theirs."""
