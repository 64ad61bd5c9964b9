"""Create, retrieve and flush sessions on each backend, beside the same work on the bare ZODB database under it.

Usage: scripts/bench [BACKEND ...]. KIOKUPY_TEST_POSTGRESQL names the PostgreSQL database to use; its kiokupy store is
left there. Each figure is the median of ROUNDS rounds of the two in turn; the store is new in each round, and every
write is durable.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import transaction
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping

import kiokupy
from kiokupy import backends

ROUNDS, COUNT = 5, 200
POSTGRESQL = os.environ.get("KIOKUPY_TEST_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/test")
PAYLOAD = {
    "user": {"id": 4711, "name": "Ada Lovelace", "roles": ["customer", "editor"]},
    "cart": [{"sku": f"sku-{n:04}", "name": f"Product number {n}", "quantity": n, "price": n * 1.5} for n in range(10)],
    "csrf": "x" * 43,
    "seen": [1.8e9 + n for n in range(5)],
}
TARGETS: dict[str, Callable[[Path], str]] = {
    "Hash": lambda folder: "Hash",
    "File": lambda folder: f"file:path={folder}/store.fs",
    "SQLite": lambda folder: f"sqlite:///{folder}/store.sqlite",
    "PostgreSQL": lambda folder: POSTGRESQL,
    "ZEO": lambda folder: "",  # a server of its own, see _target
}
Figures = dict[str, float]


def measure(work: Callable[[int], object]) -> float:
    """Return how many times a second ``work`` runs."""
    start = time.perf_counter()
    for number in range(COUNT):
        work(number)
    return COUNT / (time.perf_counter() - start)


def with_kiokupy(target: str) -> Figures:
    """Measure the session manager."""
    with kiokupy.connect(target) as directory:
        manager = kiokupy.SessionManager(directory)
        ids = []

        def create(number: int) -> None:
            session = manager.open()
            session.update(PAYLOAD)
            session.flush()
            ids.append(session.id)

        def flush(number: int) -> None:
            session = manager.open(ids[number])
            session["n"] = number
            session.flush()

        return {
            "create": measure(create),
            "retrieve": measure(lambda number: manager.open(ids[number])["cart"]),
            "flush": measure(flush),
        }


def with_zodb(target: str) -> Figures:
    """Measure the same work with a PersistentMapping in an OOBTree for each session, as one would write it by hand."""
    from ZODB import DB  # noqa: PLC0415  # kiokupy has it loaded; the figures are of work, not of imports

    resolved = backends.resolve(target)
    database = DB(resolved.backend().open(create=True, readonly=False), cache_size=20_000)
    keys = [secrets.token_hex(32) for _ in range(COUNT)]

    @contextlib.contextmanager
    def sessions() -> Iterator[Any]:
        manager = transaction.TransactionManager(explicit=True)
        manager.begin()
        connection = database.open(manager)
        try:
            yield connection.root()["bare"]
            manager.commit()
        finally:
            connection.close()

    with contextlib.closing(database):
        with database.transaction() as connection:
            connection.root()["bare"] = OOBTree()

        def create(number: int) -> None:
            with sessions() as tree:
                tree[keys[number]] = PersistentMapping(PAYLOAD)

        def retrieve(number: int) -> None:
            with sessions() as tree:
                tree[keys[number]]["cart"]

        def flush(number: int) -> None:
            with sessions() as tree:
                tree[keys[number]]["n"] = number

        return {"create": measure(create), "retrieve": measure(retrieve), "flush": measure(flush)}


@contextlib.contextmanager
def _target(name: str, folder: Path) -> Iterator[str]:
    if name != "ZEO":
        yield TARGETS[name](folder)
        return
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    import servers  # noqa: PLC0415  # the tests' way to start a server

    with servers.new_zeo(folder) as url:
        yield url


def main(names: list[str]) -> None:
    """Print a table of medians, operations a second."""
    print(f"{'backend':12}{'work':10}{'kiokupy':>10}{'bare ZODB':>12}{'ratio':>8}")
    for name in names or TARGETS:
        rounds: list[tuple[Figures, Figures]] = []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder, _target(name, Path(folder)) as target:
                ours = with_kiokupy(target)
            with tempfile.TemporaryDirectory() as folder, _target(name, Path(folder)) as target:
                rounds.append((ours, with_zodb(target)))
        for work in ("create", "retrieve", "flush"):
            ours_median = statistics.median(ours[work] for ours, _ in rounds)
            bare_median = statistics.median(bare[work] for _, bare in rounds)
            ratio = statistics.median(ours[work] / bare[work] for ours, bare in rounds)
            print(f"{name:12}{work:10}{ours_median:10.0f}{bare_median:12.0f}{ratio:8.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
