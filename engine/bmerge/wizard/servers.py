"""Which programs that paint answer at their usual addresses, and where their checkpoints lie."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bmerge.records import dataclass

__all__ = ["USUAL", "Server", "find_servers"]

USUAL = (
    "http://127.0.0.1:7860",  # A1111, Forge, SD.Next
    "http://127.0.0.1:7861",  # a second one of them
    "http://127.0.0.1:8188",  # ComfyUI
    "http://127.0.0.1:8000",  # ComfyUI's desktop application
)
_PATIENCE = 2.0
"""Seconds; who is there answers in less."""
_MOST = 64 << 20


@dataclass(frozen=True, slots=True)
class Server:
    """A program that can paint.

    Args:
        generator: of bmerge, that drives it.
        what: it is, for people.
        address: of it.
        folders: that it scans for whole checkpoints, as far as they are on this machine.
        model_folders: likewise for diffusion models alone.
        problem: why it cannot be used as it is; None if it can.
    """

    generator: str
    what: str
    address: str
    folders: tuple[Path, ...] = ()
    model_folders: tuple[Path, ...] = ()
    problem: str | None = None


def find_servers(addresses: Sequence[str] = USUAL) -> tuple[Server, ...]:
    """Return those of some addresses at which a known program answers, in their order.

    Args:
        addresses: with ``http://`` or ``https://``.
    """
    with ThreadPoolExecutor(max(1, len(addresses))) as pool:
        found = pool.map(_identified, [address.rstrip("/") for address in addresses])
    return tuple(server for server in found if server is not None)


def _identified(address: str) -> Server | None:
    models = _get(f"{address}/sdapi/v1/sd-models")
    if models == 401:
        return Server(
            "a1111", "a web UI (A1111, Forge, SD.Next)", address, problem="asks for a user"
        )
    if isinstance(models, list):
        return Server("a1111", "a web UI (A1111, Forge, SD.Next)", address, _common(models))
    stats = _get(f"{address}/system_stats")
    if isinstance(stats, dict) and "system" in stats:
        paths = _get(f"{address}/internal/folder_paths")
        known = paths if isinstance(paths, dict) else {}
        checkpoints, models = (
            _here(known.get(kind)) for kind in ("checkpoints", "diffusion_models")
        )
        return Server("comfyui", "ComfyUI", address, checkpoints, models)
    if _get(f"{address}/") is not None and models == 404:
        problem = "is a web UI without its API: start it with --api"
        page = _text(f"{address}/")
        return Server("a1111", "a web UI", address, problem=problem) if "gradio" in page else None
    return None


def _common(models: Sequence[Any]) -> tuple[Path, ...]:
    """Return the folder that holds all checkpoints of a web UI, if it is on this machine."""
    files = [m["filename"] for m in models if isinstance(m, dict) and m.get("filename")]
    if not files:
        return ()
    try:
        return _here([os.path.commonpath([os.path.dirname(file) for file in files])])  # noqa: PTH120
    except ValueError:  # several drives, or names that are not paths
        return ()


def _here(folders: object) -> tuple[Path, ...]:
    """Return those folders that exist here and can be written."""
    paths = [Path(folder) for folder in folders] if isinstance(folders, list) else []
    return tuple(path for path in paths if path.is_dir() and os.access(path, os.W_OK))


def _get(url: str) -> Any:
    """Return JSON, the status of an error, "" for what is not JSON, or None without an answer."""
    try:
        return json.loads(_read(url))
    except urllib.error.HTTPError as error:
        return error.code
    except ValueError:
        return ""
    except OSError:
        return None


def _text(url: str) -> str:
    try:
        return _read(url).decode("utf-8", "replace")
    except OSError:
        return ""


def _read(url: str) -> bytes:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never by way of others
    with opener.open(url, timeout=_PATIENCE) as answer:
        data: bytes = answer.read(_MOST)
        return data
