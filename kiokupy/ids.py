"""Object ids: what may be one, and fresh ones."""

from __future__ import annotations

import uuid

from kiokupy.errors import InvalidId

LONGEST = 200


def check(id: object) -> str:
    """Return ``id`` as an exact ``str``, or raise :class:`~kiokupy.errors.InvalidId`.

    A subclass of ``str`` is cut down to ``str``: as a key of a tree it would drag its class into the store.
    """
    if not isinstance(id, str) or not 0 < len(id) <= LONGEST:
        raise InvalidId(id)
    try:
        id.encode()
    except UnicodeEncodeError as error:
        raise InvalidId(id) from error
    return str.__str__(id)


def fresh() -> str:
    """Return a new random id: 32 hexadecimal digits."""
    return uuid.uuid4().hex
