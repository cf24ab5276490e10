"""The crates that a build needs, put into a source distribution, so that it builds offline.

A source distribution is unpacked, the manifests lose what only tests and benchmarks need, ``cargo
vendor`` copies the rest, and everything is packed again with fixed dates and owners.
"""

from __future__ import annotations

import gzip
import io
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

__all__ = ["vendor_crates"]

_TESTS_ONLY = re.compile(
    r"^\[(?:dev-dependencies|\[bench\]|\[test\])\]\n(?:[^\[\n].*\n|\n)*", re.MULTILINE
)
_CONFIG = """\
[source.crates-io]
replace-with = "vendored-sources"

[source.vendored-sources]
directory = "vendor"
"""
_DATE = 315532800
"""1980-01-01, as in wheels."""


def vendor_crates(sdist: Path) -> None:
    """Add the crates to a source distribution, in place.

    Args:
        sdist: the ``.tar.gz``.
    """
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (root,) = Path(folder).iterdir()
        for manifest in sorted(root.glob("native/*/Cargo.toml")):
            text = _TESTS_ONLY.sub("", manifest.read_text(encoding="utf-8"))
            manifest.write_text(text, encoding="utf-8")
        command = ["cargo", "vendor", "--quiet", "vendor"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            message = f"cargo vendor failed: {done.stderr}"
            raise RuntimeError(message)
        config = root / ".cargo" / "config.toml"
        config.parent.mkdir(exist_ok=True)
        config.write_text(_CONFIG, encoding="utf-8")
        for library in root.glob("vendor/**/*.a"):  # of toolchains, for no target of ours
            shutil.rmtree(library.parent)
        _pack(root, sdist)


def _pack(root: Path, sdist: Path) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                archive.add(path, str(path.relative_to(root.parent)), filter=_plain)
    with sdist.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=_DATE) as packed:
        packed.write(data.getvalue())


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime, info.mode = _DATE, 0o644
    return info
