"""PEP 517 backend: maturin, plus the second Python root ``plugins/``.

maturin packs Python from one root only (``python-source``, here ``engine/``). This
module lets it do all the work and then adds the built-in plugins: their files to a
wheel, their path to an editable wheel. To the sdist, for which ``[tool.maturin] include`` names
``plugins/`` and this folder, it adds the crates. A wheel for Windows is tagged for Python 3.11:
from then on the library of the stable ABI has the buffer protocol; elsewhere 3.10 has it, too.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import maturin
from maturin import *  # noqa: F403  every hook not defined below is maturin's own
from vendored import vendor_crates

_PLUGINS = Path("plugins")  # hooks run with the source root as working directory


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build maturin's wheel and add the files of ``plugins/`` at its top level."""
    name: str = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    files = {
        path.relative_to(_PLUGINS).as_posix(): path.read_bytes()
        for path in sorted(_PLUGINS.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    _add(Path(wheel_directory, name), files)
    return tagged(Path(wheel_directory, name)).name


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Build maturin's source distribution and add the crates that a build needs."""
    name: str = maturin.build_sdist(sdist_directory, config_settings)
    vendor_crates(Path(sdist_directory, name))
    return name


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build maturin's editable wheel and put ``plugins/`` on the path beside ``engine/``."""
    name: str = maturin.build_editable(wheel_directory, config_settings, metadata_directory)
    _add(Path(wheel_directory, name), {"bmerge_plugins.pth": f"{_PLUGINS.resolve()}\n".encode()})
    return name


def tagged(wheel: Path) -> Path:
    """Tag a wheel for the oldest Python that loads it; return where it is then."""
    if "-cp310-abi3-win" not in wheel.name:
        return wheel
    right = wheel.with_name(wheel.name.replace("-cp310-", "-cp311-"))
    wheel.rename(right)
    with zipfile.ZipFile(right) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith(".dist-info/WHEEL")]
        text = archive.read(name).replace(b"Tag: cp310-", b"Tag: cp311-")
    _add(right, {name: text})
    return right


def _add(wheel: Path, files: dict[str, bytes]) -> None:
    """Put ``files`` into ``wheel`` in place and list them in its RECORD."""
    old = wheel.with_suffix(".old")
    wheel.rename(old)
    with (
        zipfile.ZipFile(old) as source,
        zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        (record,) = [n for n in source.namelist() if n.endswith(".dist-info/RECORD")]
        rows = list(csv.reader(io.StringIO(source.read(record).decode())))
        rows = [row for row in rows if row[0] not in {record, *files}]
        for item in source.infolist():
            if item.filename not in {record, *files}:
                target.writestr(item, source.read(item))
        for name, data in files.items():
            _write(target, name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
            rows.append([name, f"sha256={digest.decode()}", str(len(data))])
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*rows, [record, "", ""]])
        _write(target, record, text.getvalue().encode())
    old.unlink()


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Write one plain file with a fixed date and mode, so that builds are reproducible."""
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o100644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)
