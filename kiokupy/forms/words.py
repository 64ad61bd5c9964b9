"""Words: the forms of well-known values, which people read more easily than how a pickle makes them.

A value has such a form only if that leads back to the same pickle; else it has the form of any other object.
"""

from __future__ import annotations

import base64
import datetime
import math
import uuid
from collections.abc import Callable
from typing import Any

from kiokupy import entry as stored
from kiokupy.inert import StandIn

_MOST_BITS = 10_000  # Python turns no int of more than 4300 digits into text
_RESTORE = f"{stored.__name__}:restore"
_PAIR = 2
_MOMENTS: dict[str, Any] = {
    "$date": datetime.date,
    "$datetime": datetime.datetime,
    "$time": datetime.time,
}


def of_atom(value: Any) -> Any:
    """Return the form of a plain value."""
    kind = type(value)
    if kind is str and not _is_unicode(value):
        return {"$str": value.encode("unicode_escape").decode()}
    if kind is bytes:
        return {"$bytes": base64.b64encode(value).decode()}
    if kind is int and value.bit_length() > _MOST_BITS:
        return {"$int": hex(value)}
    if kind is float and not math.isfinite(value):
        sign = "-" if math.copysign(1, value) < 0 else ""
        return {"$float": f"{sign}{'nan' if math.isnan(value) else 'inf'}"}
    return value


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


#: How to read the forms of plain values.
ATOMS: dict[str, Callable[[str], Any]] = {
    "$str": lambda text: text.encode("ascii").decode("unicode_escape"),
    "$bytes": lambda text: base64.b64decode(text, validate=True),
    "$int": lambda text: int(text, 16),
    "$float": float,
}


def of_call(value: StandIn) -> dict[str, Any] | None:
    """Return the form of a well-known call; what it holds has no form yet."""
    plain = value.called is None and not (value.keywords or value.items or value.pairs)
    if not plain or (value.state is not None and value.how == "call"):
        return None
    if value.how == "new":
        return _uuid(value)
    match value.name, value.args:
        case str(name), (str(class_name), data) if name == _RESTORE:
            return {"$pair": class_name, "$data": data}
        case "decimal:Decimal", (str(text),):
            return {"$decimal": text}
        case str(name), (bytes(packed), *zone) if name.startswith("datetime:") and len(zone) < _PAIR:
            return _moment("$" + name.removeprefix("datetime:"), packed, zone)
    return None


def _moment(tag: str, packed: bytes, zone: list[Any]) -> dict[str, Any] | None:
    try:
        text = _MOMENTS[tag](packed).isoformat()
        if _packed(tag, text) != packed:
            return None
    except (KeyError, TypeError, ValueError):  # not what a datetime gives
        return None
    return {tag: text, **({"$zone": zone[0]} if zone else {})}


def _packed(tag: str, text: str) -> bytes:
    packed: bytes
    packed, *zone = _MOMENTS[tag].fromisoformat(text).__reduce_ex__(stored.PROTOCOL)[1]
    if zone:
        raise ValueError(f"{text!r} has a zone, which belongs in $zone")
    return packed


def _uuid(value: StandIn) -> dict[str, Any] | None:
    match value.name, value.args, value.state:
        case "uuid:UUID", (), {"int": int(number), **rest} if not rest and 0 <= number < 1 << 128:
            return {"$uuid": str(uuid.UUID(int=number))}
    return None


def call_of(tag: str, text: str, extra: Any) -> StandIn:
    """Return the call that a form of :func:`of_call` stands for.

    :param extra: its zone or data.
    :raises ValueError: the text is none of that kind.
    """
    if tag == "$uuid":
        made = StandIn("uuid:UUID").made((), "new")
        made.state = {"int": uuid.UUID(text).int}
        return made
    if tag == "$decimal":
        return StandIn("decimal:Decimal").made((text,))
    if tag == "$pair":
        return StandIn(_RESTORE).made((text, extra))
    packed = _packed(tag, text)
    return StandIn(f"datetime:{tag[1:]}").made((packed,) if extra is None else (packed, extra))


#: The forms of well-known calls, with what else each may have.
CALLS = {"$uuid": "", "$decimal": "", "$pair": "$data", "$date": "", "$datetime": "$zone", "$time": "$zone"}
