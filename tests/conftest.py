import contextlib
from dataclasses import dataclass, field
from typing import Any

import pytest
import servers
from session_races import Clock

import kiokupy
from kiokupy import SessionPolicy


@dataclass
class Place:
    """A place for a store; every connection to it sees the same one, except on Hash."""

    name: str
    target: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def outlives_its_directory(self):
        return self.name != "Hash"

    def connect(self, **options):
        return kiokupy.connect(self.target, **{**self.options, **options})


#: The toys are other projects: a test runs the tests of each in a process of its own.
collect_ignore = ["toy_backend", "toy_adapter"]

KINDS = ["Hash", "File", "SQLite", "SQLite-history", "PostgreSQL", "PostgreSQL-history", "ZEO"]


@contextlib.contextmanager
def new_place(kind, folder):
    if kind == "Hash":
        yield Place(kind, "Hash")
    elif kind == "File":
        yield Place(kind, "File", {"path": folder / "store.fs"})
    elif kind == "ZEO":
        with servers.new_zeo() as url:
            yield Place(kind, url)
    else:
        history = {"keep_history": kind.endswith("-history")}
        if kind.startswith("SQLite"):
            yield Place(kind, f"sqlite:///{folder / 'store.sqlite'}", history)
        else:
            with servers.new_postgresql() as url:
                yield Place(kind, url, history)


#: To measure branches takes as long again as the tests. It is not done on these, since the same lines of the package run
#: on the others; test_suite.py measures the backends themselves. Nor is it done where the mark no_cover stands: where a
#: test is about many objects, or about whatever Hypothesis finds, a smaller one says which lines it tests.
UNMEASURED = ["SQLite-history", "PostgreSQL", "PostgreSQL-history", "ZEO"]


def on_each(kinds):
    return [pytest.param(kind, marks=pytest.mark.no_cover if kind in UNMEASURED else ()) for kind in kinds]


@pytest.fixture(params=on_each(KINDS))
def place(request, tmp_path):
    """A place for a store, of every kind in turn."""
    with new_place(request.param, tmp_path) as place:
        yield place


@pytest.fixture(params=on_each(kind for kind in KINDS if kind != "Hash"))
def lasting_place(request, tmp_path):
    """A place for a store that outlives its directory, of every kind in turn."""
    with new_place(request.param, tmp_path) as place:
        yield place


@pytest.fixture
def file_place(tmp_path):
    return Place("File", "File", {"path": tmp_path / "store.fs"})


@pytest.fixture
def clock():
    """A clock that stands still until its ``now`` is set."""
    return Clock()


@pytest.fixture
def policy(clock):
    return SessionPolicy(idle=1800, absolute=7200, resolution=60, clock=clock)


def pytest_sessionfinish():
    servers.stop()


def pytest_terminal_summary(terminalreporter):
    reasons = {str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())}
    for problem, name in servers.PROBLEMS.items():
        if any(problem in reason for reason in reasons):
            terminalreporter.write_line(f"Not run, for want of a server: tests on {name}")
