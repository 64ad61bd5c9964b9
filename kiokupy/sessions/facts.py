"""Facts: what the store knows of a session beside its data; the head of its record.

Times are seconds since 1970 UTC. The head is a pickle of plain values, ``((created, used, expires, principal, ...),
{})``. What was added since the first format is left out from the end while it has its default, so that a session
without it is written as ever.
"""

from __future__ import annotations

import io
import math
import pickle
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from kiokupy import entry
from kiokupy.entry import Record
from kiokupy.errors import NotLoadable

CLASS_NAME = "kiokupy:Session"

_ALWAYS = 4  # the facts that the first format had


class Device(NamedTuple):
    """Where a session was used last, as the client said: for its owner to recognize, never to decide by."""

    user_agent: str | None = None
    address: str | None = None


class Facts(NamedTuple):
    """What the store knows of a session beside its data."""

    created: float
    used: float
    expires: float
    principal: str | None = None
    #: when the principal was authenticated last
    authenticated: float | None = None
    #: the session's own limits in seconds, infinite ones too; ``None``: those of the policy
    idle: float | None = None
    absolute: float | None = None
    #: whether the cookie outlives the browser
    lasting: bool = False
    user_agent: str | None = None
    address: str | None = None
    #: the key of the session that this one's id leads to for a while after it moved
    successor: bytes | None = None

    @property
    def device(self) -> Device:
        """Where the session was used last."""
        return Device(self.user_agent, self.address)


_DEFAULTS = tuple(Facts._field_defaults[name] for name in Facts._fields[_ALWAYS:])
_NUMBER, _NONE = (int, float), type(None)
_LIMIT, _TEXT = (*_NUMBER, _NONE), (str, _NONE)
#: What each fact is an instance of, in their order.
_KINDS: tuple[Any, ...] = (_NUMBER, _NUMBER, _NUMBER, _TEXT, _LIMIT, _LIMIT, _LIMIT, bool, _TEXT, _TEXT, (bytes, _NONE))


def head_of(facts: Facts) -> bytes:
    """Return the head of a session's record."""
    told = len(facts)
    while told > _ALWAYS and facts[told - 1] == _DEFAULTS[told - 1 - _ALWAYS]:
        told -= 1
    return pickle.dumps((facts[:told], {}), entry.PROTOCOL)


def facts_of(record: Record) -> Facts:
    """Return what a session's record says beside the data.

    :raises NotLoadable: it is not that of a session.
    """
    try:
        if record.class_name != CLASS_NAME:
            raise ValueError("the record is not that of a session")
        return _read(record.head or b"")
    except Exception as error:  # whoever wrote it may have written anything
        raise NotLoadable(record.class_name, id="a session", reason=str(error)) from error


@lru_cache(maxsize=4096)  # a request reads the same head to open a session and to save it
def _read(head: bytes) -> Facts:
    args, _ = _Plain(io.BytesIO(head)).load()
    facts = Facts(*args)
    if not _is_sound(facts):
        raise ValueError("the record is not that of a session")
    return facts


def _is_sound(facts: Facts) -> bool:
    """Tell whether facts are of the kinds that they are written in: a sweep that stumbles over one sweeps no other."""
    times = facts.created + facts.used + facts.expires if all(map(isinstance, facts, _KINDS)) else math.nan
    return not math.isnan(times)


class _Plain(pickle.Unpickler):
    """Reads plain values; there is nothing that a head may call."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise ValueError(f"the facts of a session name {module}:{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise ValueError("the facts of a session refer to another record")
