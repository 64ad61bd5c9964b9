"""Start-up: what importing costs, each time in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.figures import Part, add

_SCRIPT = """
import time
{first}
start = time.perf_counter()
{then}
print(time.perf_counter() - start)
"""
#: By name: what is done before the clock starts, and what then. Kiokupy imports most of itself when it is first used,
#: so beside the import stands what a program pays that opens a store, and what bare ZODB pays for one.
_IMPORTS = {
    "kiokupy, beyond ZODB": ("import ZODB", "import kiokupy"),
    "kiokupy": ("", "import kiokupy"),
    "kiokupy, and a directory on Hash": ("", "import kiokupy; kiokupy.connect('Hash')"),
    "ZODB": ("", "import ZODB"),
    "ZODB, and a database in memory": ("", "import ZODB; ZODB.DB(None)"),
    "diskcache": ("", "import diskcache"),
    "redis": ("", "import redis"),
    "beaker.session": ("", "import beaker.session"),
    "sqlalchemy": ("", "import sqlalchemy"),
}
WORK = "import, seconds"


def measure(part: Part, *, rounds: int) -> None:
    """Note how many seconds it takes to import each package that is there."""
    # A checkout is as an installed package is, which pip compiled: the first run, which may compile, does not count.
    _run("", "import kiokupy; kiokupy.connect('Hash')")
    for _ in range(rounds):
        for name, (first, then) in _IMPORTS.items():
            done = _run(first, then)
            if done.returncode == 0:
                add(part, WORK, name, float(done.stdout))
            else:
                part["skipped"][name] = done.stderr.strip().splitlines()[-1]


def _run(first: str, then: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", _SCRIPT.format(first=first, then=then)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
