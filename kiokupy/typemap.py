"""The type map: which classes may be stored, and how. What it does not name is refused, both ways.

The allow-list of the unpickler comes from here and from nowhere else: a record in the store can name only what an
application named before.
"""

from __future__ import annotations

import collections
import copyreg
import datetime
import decimal
import enum
import fractions
import functools
import importlib
import ipaddress
import pathlib
import sys
import types
import uuid
import zoneinfo
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from persistent import Persistent

from kiokupy.errors import NotLoadable, TargetError


class Keep(enum.Enum):
    """Where an object of a class is kept."""

    FIRST_CLASS = "first-class"  #: in an entry of its own, under an id, shared by those who refer to it
    INTRINSIC = "intrinsic"  #: inside the object that holds it, as a part of its value


@dataclass(frozen=True)
class Rule:
    """How the objects of one class are stored.

    ``collapse`` and ``expand`` come as a pair: the one turns an object into storable data (plain values, or objects the
    type map knows), the other makes an equal object of that data. Without them the object's own pickle protocol
    (``__getstate__``, ``__getnewargs__``, ``__reduce__``) is followed.

    :param cls: the class; its subclasses are covered with ``subclasses=True`` only.
    :param keep: first-class (its own entry) or intrinsic (inside its holder).
    :param aliases: earlier names of the class, as ``module:qualname``; records that carry them still load.
    """

    cls: type[Any]
    keep: Keep = Keep.FIRST_CLASS
    collapse: Callable[[Any], Any] | None = None
    expand: Callable[[Any], Any] | None = None
    subclasses: bool = False
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.cls, type):
            raise TargetError(f"a rule of the type map is about a class, not about {self.cls!r}", target=self.cls)
        if (self.collapse is None) is not (self.expand is None):
            raise TargetError(
                f"the rule for {name_of(self.cls)} has one half of a collapse/expand pair",
                target=self.cls,
                fix="Give both, or neither",
            )

    @functools.cached_property
    def plain(self) -> bool:
        """Whether objects are made by ``object.__new__`` and filled with what ``__getstate__`` gave."""
        return self.collapse is None and _is_plain(self.cls)


def name_of(cls: type) -> str:
    """Return the name a class is stored under: ``module:qualname``."""
    module = _STORED_MODULES.get(cls.__module__, cls.__module__)
    return f"{module}:{cls.__qualname__}"


#: Where a class moves between Python versions, records name one place.
_STORED_MODULES = {"pathlib._local": "pathlib"}


def first_class(cls: type, **options: Any) -> Rule:
    """Give every object of ``cls`` its own entry; options as for :class:`Rule`."""
    return Rule(cls, Keep.FIRST_CLASS, **options)


def intrinsic(cls: type, **options: Any) -> Rule:
    """Keep objects of ``cls`` inside the objects that hold them; options as for :class:`Rule`."""
    return Rule(cls, Keep.INTRINSIC, **options)


#: What :class:`TypeMap` takes: a class, a rule, or the name of a module whose classes are all meant.
Allowed = type | Rule | str


class TypeMap:
    """Which classes may be stored, and how.

    :param allowed: classes (each first-class, unless its objects are immutable values: enum members and subclasses of
        ``tuple``, ``str``, numbers and the like are intrinsic), :class:`Rule` objects, and module names:
        ``"shop.models"`` names every class defined in that module and below it.
    """

    def __init__(self, allowed: Iterable[Allowed] = ()) -> None:
        self._rules: dict[type, Rule] = {}
        # What follows from the rules and prefixes; forgotten whenever one is added.
        self._derived: dict[type, Rule | None] = {}
        self._inherited: list[Rule] = []
        self._names: dict[tuple[str, str], Any] = {}
        self._prefixes: list[str] = []
        for rule in _STANDARD:
            self._add(rule)
        for item in allowed:
            self.allow(item)

    def allow(self, item: Allowed) -> None:
        """Add a class, a rule, or a module name to the map; the last word about a class counts."""
        if isinstance(item, Rule):
            self._add(item)
        elif isinstance(item, type):
            self._add(_default_rule(item))
        elif isinstance(item, str) and item.strip(" ."):
            self._prefixes.append(item.rstrip("."))
            self._derived = {}
        else:
            raise TargetError(
                f"the type map cannot allow {item!r}",
                target=item,
                fix="Give a class, a Rule, or the name of a module",
            )

    def rule_for(self, cls: type) -> Rule | None:
        """Return the rule for objects of exactly ``cls``; ``None`` means they are refused."""
        rule = self._rules.get(cls)
        if rule is not None:
            return rule
        try:
            return self._derived[cls]
        except KeyError:
            rule = self._derived[cls] = self._derive(cls)
            return rule

    def find(self, module: str, qualname: str) -> Any:
        """Return the class a record names. Nothing is imported that the map does not name.

        :raises NotLoadable: the map does not name it, or it is no class, or it is gone.
        """
        try:
            return self._names[module, qualname]
        except KeyError:
            found = self._names[module, qualname] = self._import(module, qualname)
            return found

    def class_named(self, name: str) -> type[Any]:
        """Return the class of a stored name ``module:qualname``; raises as :meth:`find`."""
        module, _, qualname = name.partition(":")
        found: type[Any] = self.find(module, qualname)
        return found

    def _add(self, rule: Rule) -> None:
        self._rules[rule.cls] = rule
        if rule.subclasses:
            self._inherited.append(rule)
            self._derived = {}
        for name in (name_of(rule.cls), *rule.aliases):
            module, _, qualname = name.partition(":")
            self._names[module, qualname] = rule.cls

    def _derive(self, cls: type) -> Rule | None:
        for rule in reversed(self._inherited):
            if issubclass(cls, rule.cls):
                return Rule(cls, rule.keep, rule.collapse, rule.expand)
        if self._names_module(cls.__module__) or _is_container_record(cls):
            return _default_rule(cls)
        return None

    def _names_module(self, module: str) -> bool:
        return any(_inside(module, prefix) for prefix in self._prefixes)

    def _import(self, module: str, qualname: str) -> Any:
        name = f"{module}:{qualname}"
        named = self._names_module(module) or is_container_module(module)
        if not named and not self._inherited:
            raise NotLoadable(name)
        try:
            found = _walk(importlib.import_module(module) if named else None, module, qualname)
        except (ImportError, AttributeError) as error:
            raise NotLoadable(name, reason=f"it cannot be imported ({error})") from error
        # A module also holds what it imported: only a class defined under the very name that was asked for counts.
        if not isinstance(found, type) or name_of(found) != name or self.rule_for(found) is None:
            raise NotLoadable(name)
        return found


def _walk(start: Any, module: str, qualname: str) -> Any:
    """Follow a qualified name; without a module in hand only those already imported are looked at."""
    found = start if start is not None else sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _is_container_record(cls: type) -> bool:
    return issubclass(cls, Persistent) and is_container_module(cls.__module__)


def is_container_module(module: str) -> bool:
    """Tell whether a module is one of ZODB's, whose containers are data types like a dict.

    The tests that are installed with them are code that nobody asked to run.
    """
    package, *rest = module.split(".")
    return package in _CONTAINER_PACKAGES and "tests" not in rest


def _inside(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def _is_plain(cls: type) -> bool:
    return (
        all(getattr(cls, name) is getattr(object, name) for name in ("__new__", "__reduce_ex__", "__reduce__"))
        and not hasattr(cls, "__getnewargs__")
        and not hasattr(cls, "__getnewargs_ex__")
        and cls not in copyreg.dispatch_table
    )


#: ZODB's own containers: each object of theirs is a record, and they are data types like a dict.
_CONTAINER_PACKAGES = frozenset({"BTrees", "persistent"})

_VALUES = (tuple, str, bytes, int, float, complex, frozenset, enum.Enum, datetime.date, datetime.time)


def _default_rule(cls: type) -> Rule:
    if issubclass(cls, _VALUES):
        return intrinsic(cls)
    return first_class(cls)


def _standard_rules() -> list[Rule]:
    """Return the rules of the plain data types: they are values, and live inside their holder."""
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
    return rules


_STANDARD = _standard_rules()
