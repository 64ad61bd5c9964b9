"""What tests of sessions have in common: a clock, a look at the store, managers that can be stopped halfway.

Run as a program it is one of several processes that share a store: see :func:`work`.
"""

import hashlib
import json
import sys
import threading

import kiokupy
from kiokupy import SessionManager, SessionPolicy
from kiokupy.maintenance import fsck
from kiokupy.maintenance.findings import Kind
from kiokupy.sessions.facts import facts_of
from kiokupy.sessions.merging import appended
from kiokupy.sessions.shelf import SLICE, Shelf

START = 1_800_000_000.0
IDLE = 1800


class Clock:
    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now


def stored(manager):
    """Return the keys of all stored sessions."""
    with manager.directory.new_unit() as unit:
        return list(unit.root["sessions"])


def last_write(manager):
    """Return the storage's last transaction."""
    with manager.directory.new_unit() as unit:
        return unit.connection.db().lastTransaction()


class Halting(SessionManager):
    """A manager whose next transaction lets others act when it has done its work and is not committed yet."""

    meanwhile = None

    def transact(self, work):
        return super().transact(self.halting(work))

    def transact_alone(self, work):
        return super().transact_alone(self.halting(work))

    def halting(self, work):
        def halting(unit):
            done = work(unit)
            meanwhile, self.meanwhile = self.meanwhile, None
            if meanwhile is not None:
                meanwhile()
            return done

        return halting


def shelf_of(directory):
    """Return what the trees of sessions hold: facts by key, marks, and the keys of ``principals``."""
    with directory.new_unit() as unit:
        shelf = Shelf(unit.root)
        facts = {key: facts_of(entry.record) for key, entry in shelf.sessions.items()}
        return facts, set(unit.root.get("expiry", ())), set(unit.root.get("principals", ()))


def check_indexes(directory):
    """Fail unless each session is found by its end and its principal, and nothing else is by a principal."""
    facts, marks, principals = shelf_of(directory)
    expected = set()
    for key, one in facts.items():
        if one.expires < float("inf"):
            earliest = min((mark[:8] for mark in marks if mark[8:] == key), default=b"\xff")
            assert earliest <= int(one.expires / SLICE).to_bytes(8)
        if one.principal is not None:
            owner = hashlib.sha256(one.principal.encode()).digest()
            expected |= {owner, owner + key}
    assert principals == expected
    # What the application deleted is missed by sessions that refer to it, as it is by objects.
    assert [finding for finding in fsck(directory).findings if finding.kind is not Kind.REFERENCE] == []


def check_nothing_is_left(directory, now):
    """Fail unless a sweep of a time when all sessions have expired empties all trees."""
    SessionManager(directory, SessionPolicy(clock=lambda: now)).sweep()
    assert shelf_of(directory) == ({}, set(), set())


def in_threads(*works):
    """Run all at the same time, and raise what one of them raised."""
    errors = []

    def guarded(work):
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


MERGES = {"seen": appended}
LIMIT = 3


def work(target, options, id, name, times):
    """Be one of several processes: change a session that all of them change, and log in as one that all of them are."""
    with kiokupy.connect(target, **options) as directory:
        manager = SessionManager(directory, SessionPolicy(parallel=LIMIT), merges=MERGES)
        manager.retrieve(id)
        print("ready", flush=True)  # to the test that waits for all of them
        sys.stdin.readline()
        for number in range(times):
            session = manager.retrieve(id)
            session.increment("count")
            session.append("log", f"{name} {number}")
            session["seen"] = [*session.get("seen", []), f"{name} {number}"]
            session[name] = number
            session.flash(f"{name} {number}")
            session.flush()
            manager.open().login("alice")


if __name__ == "__main__":
    work(*json.loads(sys.argv[1]))
