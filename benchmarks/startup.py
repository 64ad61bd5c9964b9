"""Start-up: what importing costs, each time in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.figures import Part, add

_SCRIPT = """
import time
import {first}
start = time.perf_counter()
import {then}
print(time.perf_counter() - start)
"""
#: By name: what is imported before the clock starts, and what then.
_IMPORTS = {
    "kiokupy, beyond ZODB": ("ZODB", "kiokupy"),
    "kiokupy": ("sys", "kiokupy"),
    "ZODB": ("sys", "ZODB"),
    "diskcache": ("sys", "diskcache"),
    "redis": ("sys", "redis"),
    "beaker.session": ("sys", "beaker.session"),
    "sqlalchemy": ("sys", "sqlalchemy"),
}
WORK = "import, seconds"


def measure(part: Part, *, rounds: int) -> None:
    """Note how many seconds it takes to import each package that is there."""
    for _ in range(rounds):
        for name, (first, then) in _IMPORTS.items():
            command = [sys.executable, "-c", _SCRIPT.format(first=first, then=then)]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode == 0:
                add(part, WORK, name, float(done.stdout))
            else:
                part["skipped"][name] = done.stderr.strip().splitlines()[-1]
