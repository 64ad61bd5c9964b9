"""Facts: what the store knows of a session beside its data; the head of its record.

Times are seconds since 1970 UTC. The head is a pickle of plain values, ``((created, used, expires, principal, ...),
{})``. What was added since the first format is left out from the end while it has its default, so that a session
without it is written as ever.
"""

from __future__ import annotations

import io
import math
import operator
import pickle
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
_TIME, _NONE = (int, float), type(None)
_LIMIT, _TEXT = (*_TIME, _NONE), (str, _NONE)
#: The classes that each fact can be of, in their order.
_KINDS: tuple[Any, ...] = (_TIME, _TIME, _TIME, _TEXT, _LIMIT, _LIMIT, _LIMIT, (bool,), _TEXT, _TEXT, (bytes, _NONE))

#: What heads say, by head: a request reads the same one to open a session and to save it, the next one what that wrote.
_known: dict[bytes, Facts] = {}
_MOST = 4096


def head_of(facts: Facts) -> bytes:
    """Return the head of a session's record."""
    told = len(facts)
    while told > _ALWAYS and facts[told - 1] == _DEFAULTS[told - 1 - _ALWAYS]:
        told -= 1
    head = pickle.dumps((facts[:told], {}), entry.PROTOCOL)
    if _is_sound(facts):
        _remember(head, facts)
    return head


def facts_of(record: Record) -> Facts:
    """Return what a session's record says beside the data.

    :raises NotLoadable: it is not that of a session.
    """
    try:
        if record.class_name != CLASS_NAME:
            raise ValueError("the record is not that of a session")
        head = record.head or b""
        return _known.get(head) or _remember(head, _read(head))
    except Exception as error:  # whoever wrote it may have written anything
        raise NotLoadable(record.class_name, id="a session", reason=str(error)) from error


def _remember(head: bytes, facts: Facts) -> Facts:
    if len(_known) >= _MOST:
        _known.clear()
    _known[head] = facts
    return facts


def _read(head: bytes) -> Facts:
    args, _ = _Plain(io.BytesIO(head)).load()
    facts = Facts(*args)
    if not _is_sound(facts):
        raise ValueError("the record is not that of a session")
    return facts


def _is_sound(facts: Facts) -> bool:
    """Tell whether facts are of the kinds that they are written in: a sweep that stumbles over one sweeps no other."""
    fits = all(map(operator.contains, _KINDS, map(type, facts)))
    return fits and not math.isnan(facts.created + facts.used + facts.expires)


class _Plain(pickle.Unpickler):
    """Reads plain values; there is nothing that a head may call."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise ValueError(f"the facts of a session name {module}:{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise ValueError("the facts of a session refer to another record")
