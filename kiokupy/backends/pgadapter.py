"""RelStorage's adapter for PostgreSQL, in few round trips and without temporary tables.

RelStorage gathers a transaction's rows in a temporary table, and to empty its three at each commit takes PostgreSQL
longer than the commit. Here they are parameters of functions, which are there as long as the connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from relstorage.adapters.postgresql.adapter import PostgreSQLAdapter
from relstorage.adapters.postgresql.batch import PostgreSQLRowBatcher
from relstorage.adapters.postgresql.locker import PostgreSQLLocker
from relstorage.adapters.postgresql.mover import PostgreSQLObjectMover

from kiokupy.backends.pgconnections import beginning_late

# A transaction of more bytes goes through RelStorage's tables: a parameter is in memory, more than once.
_MOST_BYTES = 1 << 20

# The locks are RelStorage's, which may be how another process comes to the store. Each statement of a function sees
# what was committed before it began, so that what is looked at under the locks is the newest.
_FUNCTIONS = """
CREATE FUNCTION pg_temp.kiokupy_lock(
    reads BIGINT[], writes BIGINT[], oids BIGINT[], tids BIGINT[]
) RETURNS BOOLEAN AS $$
BEGIN
    PERFORM FROM unnest(reads) AS oid WHERE NOT pg_try_advisory_xact_lock_shared(oid);
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'lock_not_available', HINT = 'readCurrent';
    END IF;
    PERFORM pg_advisory_xact_lock(oid) FROM unnest(writes) AS oid;
    PERFORM FROM object_state JOIN unnest(oids, tids) AS seen (zoid, seen_tid) USING (zoid) WHERE tid <> seen_tid;
    RETURN NOT FOUND;
END $$ LANGUAGE plpgsql;
CREATE FUNCTION pg_temp.kiokupy_write(given_tid BIGINT, oids BIGINT[], states BYTEA[]) RETURNS TEXT AS $$
DECLARE
    new_tid BIGINT := COALESCE(given_tid, lock_and_choose_tid());
BEGIN
    INSERT INTO object_state (zoid, tid, state_size, state)
        SELECT oid, new_tid, length(data), data FROM unnest(oids, states) AS row (oid, data)
        ON CONFLICT (zoid) DO UPDATE SET tid = excluded.tid, state_size = excluded.state_size, state = excluded.state;
    DELETE FROM blob_chunk WHERE zoid = ANY (oids);
    RETURN new_tid;
END $$ LANGUAGE plpgsql
"""
_LOCK = "SELECT pg_temp.kiokupy_lock(%s::BIGINT[], %s::BIGINT[], %s::BIGINT[], %s::BIGINT[])"
_CHANGED = (
    "SELECT {} FROM object_state JOIN unnest(%s::BIGINT[], %s::BIGINT[]) AS seen (zoid, seen_tid) USING (zoid)"
    " WHERE tid <> seen_tid"
)
# What RelStorage is to be told: of what was only read no state that was seen, by which it knows it.
_READ, _WRITTEN = _CHANGED.format("zoid, tid, NULL, NULL"), _CHANGED.format("zoid, tid, seen_tid, state")
_WRITE = "SELECT pg_temp.kiokupy_write(%s, %s, %s)"
# In one round trip; psycopg2 gives what the last statement found.
_WRITE_AND_COMMIT = """
SELECT set_config('kiokupy.tid', pg_temp.kiokupy_write(%s, %s, %s), FALSE);
COMMIT;
SELECT current_setting('kiokupy.tid')
"""


class _Rows(PostgreSQLObjectMover):  # type: ignore[misc]  # RelStorage has no annotations
    """Leaves rows where RelStorage gathers them, in memory or a file, if they are few. Each adapter has its own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        #: State, oid and the transaction that it was made from. RelStorage empties it when a transaction is over. Where
        #: it is empty the rows are in the temporary table, or there are none.
        self.few: Any = ()

    def on_store_opened(self, cursor: Any, restart: bool = False) -> None:
        """Make RelStorage's tables, and the functions, on a new connection."""
        super().on_store_opened(cursor, restart)
        if not restart:
            cursor.execute(_FUNCTIONS)
            cursor.connection.commit()

    def store_temps(self, cursor: Any, state_oid_tid_iter: Any) -> None:
        """Know the rows of the transaction that is voted for."""
        self.few = state_oid_tid_iter
        if sum(end - start for start, end, _, _ in state_oid_tid_iter.items()) > _MOST_BYTES:
            self.few = ()
            super().store_temps(cursor, state_oid_tid_iter)

    def replace_temps(self, cursor: Any, state_oid_tid_iter: Any) -> None:
        """Write what was merged where the rows are; among few it is already."""
        if not self.few:
            super().replace_temps(cursor, state_oid_tid_iter)


class _Locker(PostgreSQLLocker):  # type: ignore[misc]  # RelStorage has no annotations
    def on_store_opened(self, cursor: Any, restart: bool = False) -> None:
        """Say how long to wait for locks on a new connection; on an old one find out whether it is lost.

        RelStorage says it each time, and finds that out so. Twice, since the server may have said why it goes, and the
        first look sees only that.
        """
        if not restart:
            super().on_store_opened(cursor, restart)
        else:
            cursor.connection.poll()
            cursor.connection.poll()


class Adapter(PostgreSQLAdapter):  # type: ignore[misc]  # RelStorage has no annotations
    """For a store without history, blobs and replicas."""

    mover: _Rows

    def _select_driver(self, options: Any = None) -> Any:
        driver = super()._select_driver(options)
        driver.connect = beginning_late(driver.connect)
        return driver

    def _create(self) -> None:
        self.mover = _Rows(self.driver, options=self.options, batcher_factory=PostgreSQLRowBatcher)
        if self.locker is None:
            self.locker: Any = _Locker(self.options, self.driver, PostgreSQLRowBatcher)
        super()._create()

    def begin_load(self, cursor: Any) -> None:
        """Do nothing: a snapshot begins with the first statement."""

    def _best_lock_objects_and_detect_conflicts(self, cursor: Any, read_current_oids: Mapping[int, int]) -> Any:
        if not self.mover.few:
            return super()._best_lock_objects_and_detect_conflicts(cursor, read_current_oids)
        written = sorted((oid, seen) for _, oid, seen in self.mover.few)
        read = _apart(read_current_oids.items())
        [oids, tids] = _apart(written)
        shared = [oid for oid, seen in written if seen or not oid]  # 0 is the root: two processes may make it at once
        cursor.execute(_LOCK, (read[0], shared, read[0] + oids, read[1] + tids))
        if cursor.fetchone()[0]:
            return []
        cursor.execute(_READ, read)
        found = cursor.fetchall()
        cursor.execute(_WRITTEN, (oids, tids))
        return found + cursor.fetchall()

    def lock_database_and_move(
        self,
        store_connection: Any,
        *others: Any,
        commit: bool = True,
        committing_tid_int: int | None = None,
        **options: Any,
    ) -> Any:
        """Write the rows, and commit; return the transaction's number."""
        if not self.mover.few:
            options |= {"commit": commit, "committing_tid_int": committing_tid_int}
            return super().lock_database_and_move(store_connection, *others, **options)
        states, oids, _ = zip(*self.mover.few, strict=True)
        cursor = store_connection.cursor
        cursor.execute(_WRITE_AND_COMMIT if commit else _WRITE, (committing_tid_int, list(oids), list(states)))
        return int(cursor.fetchone()[0]), "-"


def _apart(pairs: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    firsts, seconds = [], []
    for first, second in pairs:
        firsts.append(first)
        seconds.append(second)
    return firsts, seconds
