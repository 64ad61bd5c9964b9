"""What RelStorage's cache is to forget.

The storages of a process share a cache. What did not change for a while is found in it without being asked for by its
transaction, as long as RelStorage knows of no change. When all storages are past a change, RelStorage may forget that
change since there is a newer one, and tells the cache to forget the object's states up to it. Of an object with one
state the cache (RelStorage 4.3, ``SVCacheEntry::discarding_tids_before``) then keeps those that are older, and forgets
those that are newer. So a storage that is between the two changes found the state from before both.

Where RelStorage finds that what it knows of changes is wrong it forgets that, and keeps what was found without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from relstorage.cache.cache import MultipleValues


def forgetting(storage: Any) -> Any:
    """Return a RelStorage, whose cache now forgets what it is told to, and nothing else."""
    client, known = storage._cache.local_client, storage._cache.polling_state
    client.delitems = partial(_forget, client)
    known.flush_all = partial(_forget_all, client, known, known.flush_all)
    return storage


def _forget(client: Any, last: Mapping[int, int]) -> None:
    cache = client._cache
    for oid, tid in last.items():
        if cache.contains_oid_with_newer_tid(oid, tid) is None:
            cache.del_oids([oid])
        elif isinstance(cache.get(oid), MultipleValues):
            cache.delitems({oid: tid})


def _forget_all(client: Any, known: Any, forget_changes: Callable[[], None]) -> None:
    with known._lock:  # nobody begins to know anew in between
        forget_changes()
        client.flush_all()
