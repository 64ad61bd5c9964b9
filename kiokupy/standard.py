"""Standard: the rules of the standard library's data types."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import ipaddress
import pathlib
import types
import uuid
import zoneinfo
from array import array

from kiokupy.holder import Holder
from kiokupy.rules import Rule, first_class, intrinsic


def _rules() -> list[Rule]:
    """Return the rules of the plain data types: they are values, and live inside their holder; and of our own."""
    by_protocol: list[type] = [
        datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone,
        decimal.Decimal, fractions.Fraction, uuid.UUID,
        collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque,
        collections.ChainMap, collections.UserDict, collections.UserList, collections.UserString,
        types.SimpleNamespace, range, slice, complex, bytearray,
        ipaddress.IPv4Address, ipaddress.IPv6Address, ipaddress.IPv4Network, ipaddress.IPv6Network,
        ipaddress.IPv4Interface, ipaddress.IPv6Interface,
        # These stand in records as the factories of a defaultdict, and as the classes of top-level containers.
        dict, list, set, frozenset, tuple, str, bytes, int, float, bool,
    ]  # fmt: skip
    rules = [intrinsic(cls) for cls in by_protocol]
    # What these reduce to differs between Python versions, or is a bound method or a private function: a pair keeps
    # their records free of all that.
    for path in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath):
        rules.append(intrinsic(path, collapse=str, expand=path))
    rules.append(intrinsic(zoneinfo.ZoneInfo, collapse=lambda zone: zone.key, expand=zoneinfo.ZoneInfo))
    rules.append(intrinsic(array, collapse=lambda a: (a.typecode, a.tolist()), expand=lambda data: array(*data)))
    rules.append(first_class(Holder))
    return rules


RULES = _rules()
