"""fsyncs: how many times a write waits for the disk, as the system sees it.

strace is attached to the contestant's process, to its server, and to PostgreSQL's processes for its database; so it
has to be installed, and allowed. Writing to a file that was opened for synchronous writing would not be noticed.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from benchmarks.stores.contract import Missing
from benchmarks.workers import Worker

_CALLS = ("fsync", "fdatasync", "sync_file_range", "msync", "syncfs", "sync")
_WRITES = 10


def count(worker: Worker) -> dict[str, float]:
    """Return how many calls a create, and a change, makes until it returns.

    :raises Missing: strace is not there, or may not look; what it says.
    """
    worker.do("some", work="create", count=_WRITES)
    worker.do("some", work="change", count=_WRITES)
    return {work: _count(worker, work) for work in ("create", "change")}


def _count(worker: Worker, work: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "calls")
        with _attached(worker.do("pids"), log):
            writes = worker.do("some", work=work, count=_WRITES)
        lines = log.read_text().splitlines()
        return sum(any(f" {call}(" in line for call in _CALLS) for line in lines) / float(writes)


@contextmanager
def _attached(pids: list[int], log: Path) -> Iterator[None]:
    program = which("strace")
    if program is None:
        raise Missing("strace is not installed")
    command = [program, "-f", "-o", str(log), "-e", f"trace={','.join(_CALLS)}"]
    command += [word for pid in pids for word in ("-p", str(pid))]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            for _ in pids:
                line = process.stderr.readline()
                if "attached" not in line:
                    raise Missing(line.strip() or "strace ended")
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.stderr.read()
