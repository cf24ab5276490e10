"""A real PostgreSQL server, of Debian's packages, that a test starts, kills and starts again."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

_HOMES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def home():
    """Return the folder of the server's programs; None where there is none."""
    found = shutil.which("initdb")
    return _HOMES[0] if _HOMES else found and Path(found).resolve().parent


class Postgres:
    """A server with a database of its own."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp())  # not a test's: another user must get in
        self.process = None
        with socket.create_server(("127.0.0.1", 0)) as held:
            self.port = held.getsockname()[1]
        self.user = self._owner()
        auth = ("-A", "trust", "-U", "bmerge", "--no-sync", "--encoding", "UTF8", "--locale", "C")
        subprocess.run(
            [home() / "initdb", *auth, self.folder], check=True, capture_output=True, **self.user
        )

    @property
    def url(self):
        return f"postgresql://bmerge@127.0.0.1:{self.port}/postgres"

    def start(self):
        options = ("-h", "127.0.0.1", "-p", str(self.port), "-k", "")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [home() / "postgres", "-D", self.folder, *options],
                stdout=log, stderr=log, **self.user,
            )  # fmt: skip
        end = time.monotonic() + 60
        while subprocess.run([home() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)],
                             check=False).returncode:  # fmt: skip
            assert time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.05)

    def kill(self):
        """Kill the server and all of its processes, as a power cut does."""
        processes = [self.process.pid, *_children(self.process.pid)]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()

    def remove(self):
        """Kill it, if it runs, and remove what it has written."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)

    def _owner(self):
        """Return as whom it runs: root may not."""
        if os.getuid():
            return {}
        owner = pwd.getpwnam("postgres")
        os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def _children(process):
    """Return the processes that a process has started."""
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(file.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(file.parent.name))
    return found
