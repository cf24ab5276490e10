"""What all tests share: plugin files made on the spot, and the command line in this process."""

from __future__ import annotations

import functools
import gc
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

# A worker for each core is there already: threads of BLAS and torch would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Tests start hundreds of Pythons, as users do whose bmerge pip has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile("shared", deadline=None)  # other work may share the machine
settings.load_profile("shared")


@pytest.fixture(scope="session", autouse=True)
def _user_cache(tmp_path_factory) -> Iterator[None]:
    """Leave the user's own cache of hashes and plugins alone, but for what pip downloads."""
    with pytest.MonkeyPatch.context() as patch:
        own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        patch.setenv("PIP_CACHE_DIR", os.environ.get("PIP_CACHE_DIR") or str(own / "pip"))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Look for garbage among what tests make, and not again and again among them and all imports.

    It took a third of the time of their collection.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_runtest_setup() -> None:
    """Once a test has opened a study's database, spare the others a third of their time."""
    if "alembic.script" in sys.modules:
        _read_migrations_once()


@functools.cache
def _read_migrations_once() -> None:
    """Keep what alembic reads: Optuna's ten migrations, twice for each database that is opened."""
    from alembic.script import ScriptDirectory

    read, known = ScriptDirectory.from_config, {}

    def from_config(config):
        place = config.get_main_option("script_location")
        if place not in known:
            known[place] = read(config)
        return known[place]

    ScriptDirectory.from_config = from_config


@dataclass(frozen=True, slots=True)
class Called:
    """What one call of the command line left behind."""

    status: int
    out: str
    err: str


@pytest.fixture
def bmerge(capfd, monkeypatch) -> Callable[..., Called]:
    """Run ``bmerge`` in this process; arguments may be anything that has a text form."""
    from bmerge.cli import main

    monkeypatch.delenv("COLUMNS", raising=False)  # tables are not folded

    def call(*arguments: object) -> Called:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Called(ended.value.code, out, err)

    return call


@pytest.fixture
def write_plugin(tmp_path) -> Callable[[str, str], Path]:
    """Write a plugin file and return its path."""

    def write(name: str, source: str) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        return file

    return write


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let signals end this process and those it starts, also where they were ignored before.

    Ctrl-C is, in background jobs of a shell without job control, and SIGHUP under nohup.
    """
    handlers = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = signal.SIG_DFL
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
