"""``python -m benchmarks.peers [NAME…]``: install other mergers to be measured against.

Each gets an environment of its own that shares torch, numpy and safetensors with this one, so
that all compute with the same library; what a peer needs beyond that is in its requirements file.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers import HERE, PEERS, environment, site_packages


def main() -> None:
    """Make the environments that are asked for, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(PEERS), help=", ".join(PEERS))
    for peer in parser.parse_args().names:
        install(peer)


def install(peer: str) -> None:
    """Make one peer's environment anew."""
    folder = environment(peer)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    own = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    requirements = HERE / f"requirements-{peer}.txt"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, "-r", requirements], check=True)
    # After the installation: pip must not take the shared packages for the environment's own.
    Path(own, "shared.pth").write_text(site_packages() + "\n", encoding="utf-8")
    (folder / "installed").touch()
    print(f"{peer}: {python}")


if __name__ == "__main__":
    main()
