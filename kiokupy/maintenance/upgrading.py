"""Upgrading: records that earlier versions of classes wrote get the form of today's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from kiokupy.directory import Directory
from kiokupy.errors import KiokuError
from kiokupy.maintenance.progress import Progress, Step, silent
from kiokupy.scope import Scope


@dataclass
class Upgraded:
    """What an upgrade did, or would do."""

    #: How many entries were looked at.
    seen: int = 0
    #: How many were outdated, by class and version.
    outdated: Counter[tuple[str, str | None]] = field(default_factory=Counter)
    #: What could not be loaded or written, by id; it was left as it is.
    failed: dict[str, KiokuError] = field(default_factory=dict)


def upgrade(directory: Directory, *, dry_run: bool = False, batch: int = 500, progress: Progress = silent) -> Upgraded:
    """Rewrite every entry that is of an earlier version of its class, or that uses an earlier name of one.

    It needs the application's classes, in the directory's type map. Each batch is a transaction of its own, so that it
    can run beside other work and be broken off; what is done stays done, and another run does the rest.

    :param dry_run: only tell what would be done.
    :param batch: how many entries a transaction looks at.
    """
    report = Upgraded()
    for keys in _batches(directory, batch):
        found = directory.txn_do(partial(_upgrade, keys, dry_run), readonly=dry_run)
        report.seen += found.seen
        report.outdated += found.outdated
        report.failed |= found.failed
        progress(Step("upgrade", report.seen, None))
    return report


def _batches(directory: Directory, size: int) -> Iterator[list[str]]:
    last = None
    while True:
        with directory.new_unit() as unit:
            keys = list(islice(unit.root["entries"].keys(last, None, last is not None), size))
        if not keys:
            return
        yield keys
        last = keys[-1]


def _upgrade(keys: list[str], dry_run: bool, scope: Scope) -> Upgraded:
    found = Upgraded()
    for key in filter(scope.exists, keys):
        found.seen += 1
        try:
            if scope.is_outdated(key):
                found.outdated[scope.stored_form(key)] += 1
                if not dry_run:
                    scope.rewrite(scope.get(key))
        except KiokuError as error:
            found.failed[key] = error
    return found
