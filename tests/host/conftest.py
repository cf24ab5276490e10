"""A stand-in for what is installed."""

from __future__ import annotations

import pytest

from bmerge.host import discovery


@pytest.fixture
def install(monkeypatch, write_plugin):
    """Let plugin files pass for installed ones; nothing else is installed then."""
    found: list[discovery.PluginCandidate] = []
    monkeypatch.setattr(discovery, "installed", lambda: tuple(found))
    monkeypatch.delenv("BMERGE_PLUGINS", raising=False)

    def add(
        name: str, source: str, distribution: str = "bmerge-test", hook: str | None = None
    ) -> None:
        (candidate,) = discovery.of_path(write_plugin(f"installed/{name}.py", source))
        found.append(
            discovery.PluginCandidate(name, candidate.load, distribution, "1.2", hook=hook)
        )

    return add
