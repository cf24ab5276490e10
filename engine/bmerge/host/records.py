"""What is known of one plugin: where it came from, what it implements, why it failed.

Read by listings (``bmerge plugins``) and by error messages.
"""

from __future__ import annotations

from pathlib import Path

from bmerge.recipe.schema import PluginRef
from bmerge.records import dataclass

__all__ = ["OWN", "PluginRecord"]

OWN = "bmerge"
"""The distribution of bmerge's own plugins."""


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

    @property
    def ref(self) -> PluginRef | None:
        """What a recipe or a study says of it; None of bmerge's own, and of what is in no file.

        The version of bmerge stands for its own plugins.
        """
        if self.distribution == OWN or self.file is None:
            return None
        from bmerge.host.code import code_sha256

        file = Path(self.file).absolute()
        digest = code_sha256(file, installed=self.distribution is not None)
        path = None if self.distribution else str(file)
        return PluginRef(path, self.distribution, self.version, digest)
