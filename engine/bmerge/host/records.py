"""What is known of one plugin: where it came from, what it implements, why it failed.

Read by listings (``bmerge plugins``) and by error messages.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PluginRecord"]


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One plugin, loaded or not.

    Args:
        name: of its entry point, or of its file without the suffix.
        distribution: that installed it; None for a file given by path.
        version: of that distribution.
        file: where its code lies, if that is known.
        hooks: names of the hooks that it implements, sorted.
        error: why it could not be used, in one line; None for a plugin that works.
    """

    name: str
    distribution: str | None = None
    version: str | None = None
    file: str | None = None
    hooks: tuple[str, ...] = ()
    error: str | None = None

    @property
    def source(self) -> str:
        """Where it comes from, for people: distribution and version, or the file."""
        if self.distribution:
            return f"{self.distribution} {self.version or ''}".rstrip()
        return self.file or "unknown"
