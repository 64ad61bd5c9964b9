"""Rules: how the objects of one class are stored."""

from __future__ import annotations

import copyreg
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kiokupy.errors import TargetError


class Keep(enum.Enum):
    """Where an object of a class is kept."""

    FIRST_CLASS = "first-class"  #: in an entry of its own, under an id, shared by those who refer to it
    INTRINSIC = "intrinsic"  #: inside the object that holds it, as a part of its value


#: How a state of one version of a class becomes one of another: the name of a version that is the same, or the next
#: version with what to add to the attributes, or with a function from attributes (or a pair's data) to attributes.
Upgrade = str | tuple[str, Mapping[str, Any] | Callable[[Any], Any]]


@dataclass(frozen=True)
class Rule:
    """How the objects of one class are stored.

    ``collapse`` and ``expand`` come as a pair: the one turns an object into storable data (plain values, or objects the
    type map knows), the other makes an equal object of that data. Without them the object's own pickle protocol
    (``__getstate__``, ``__getnewargs__``, ``__reduce__``) is followed.

    :param cls: the class; its subclasses are covered with ``subclasses=True`` only.
    :param keep: first-class (its own entry) or intrinsic (inside its holder).
    :param aliases: earlier names of the class, as ``module:qualname``; records that carry them still load.
    :param id: gives a new object's id where :meth:`Scope.store` is given none, also for objects that others reach.
    :param do_not_serialize: names of attributes that are not stored; loaded objects do not have them.
    :param defaults: what an attribute is that a record does not have, or a function that makes it. The defaults of a
        dataclass need not be repeated here.
    :param version: the version of the class, written into records.
    :param upgrades: from a record's version (``None``: it has none) to a later one; see :data:`Upgrade`. Handlers
        follow one another until ``version`` is reached.
    """

    cls: type[Any]
    keep: Keep = Keep.FIRST_CLASS
    collapse: Callable[[Any], Any] | None = None
    expand: Callable[[Any], Any] | None = None
    subclasses: bool = False
    aliases: Collection[str] = ()
    id: Callable[[Any], str] | None = None
    do_not_serialize: Collection[str] = ()
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    version: str | None = None
    upgrades: Mapping[str | None, Upgrade] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.cls, type):
            raise TargetError(f"a rule of the type map is about a class, not about {self.cls!r}", target=self.cls)
        for option in ("aliases", "do_not_serialize"):
            if isinstance(getattr(self, option), str):
                raise TargetError(f"{option} of the rule for {name_of(self.cls)} is one string", fix="Give a list")
        if self.version is not None and self.keep is Keep.INTRINSIC:
            raise TargetError(
                f"the rule for {name_of(self.cls)} has a version",
                target=self.cls,
                fix="Only objects with entries of their own have one: keep them first-class, or version their holder",
            )
        if (self.collapse is None) is not (self.expand is None):
            raise TargetError(
                f"the rule for {name_of(self.cls)} has one half of a collapse/expand pair",
                target=self.cls,
                fix="Give both, or neither",
            )

    @functools.cached_property
    def name(self) -> str:
        """The name that the class is stored under."""
        return name_of(self.cls)

    @functools.cached_property
    def plain(self) -> bool:
        """Whether objects are made by ``object.__new__`` and filled with what ``__getstate__`` gave."""
        return self.collapse is None and _is_plain(self.cls)

    @functools.cached_property
    def holds(self) -> bool:
        """Whether objects may hold other objects: not those that are values through and through."""
        return self.cls not in _ATOMS and not issubclass(self.cls, enum.Enum)

    @functools.cached_property
    def makers(self) -> dict[str, Callable[[], Any]]:
        """What makes the attributes that a record may be without."""
        fields = dataclasses.fields(self.cls) if dataclasses.is_dataclass(self.cls) else ()
        found: dict[str, Callable[[], Any]] = {}
        for field in fields:
            if field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory
            elif field.default is not dataclasses.MISSING and getattr(self.cls, field.name, None) is not field.default:
                found[field.name] = functools.partial(_itself, field.default)
        return found | {name: _maker(value) for name, value in self.defaults.items()}


def _itself(value: Any) -> Any:
    return value


def _maker(value: Any) -> Callable[[], Any]:
    return value if callable(value) else functools.partial(_itself, value)


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


#: Classes whose objects hold nothing else.
_ATOMS = frozenset({
    datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone,
    decimal.Decimal, fractions.Fraction, uuid.UUID, complex, range, slice,
})  # fmt: skip


def _is_plain(cls: type) -> bool:
    return (
        all(getattr(cls, name) is getattr(object, name) for name in ("__new__", "__reduce_ex__", "__reduce__"))
        and not hasattr(cls, "__getnewargs__")
        and not hasattr(cls, "__getnewargs_ex__")
        and cls not in copyreg.dispatch_table
    )


_VALUES = (tuple, str, bytes, int, float, complex, frozenset, enum.Enum, datetime.date, datetime.time)


def default_rule(cls: type) -> Rule:
    """Return the rule for a class that nothing else was said of."""
    if issubclass(cls, _VALUES):
        return intrinsic(cls)
    return first_class(cls)
