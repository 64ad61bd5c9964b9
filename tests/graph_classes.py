"""Application classes of every kind that a graph may hold; none knows anything of kiokupy."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import typing
from typing import Any, ClassVar, Generic, TypeVar

from persistent import Persistent

T = TypeVar("T")


class Person:
    friend: Any
    items: Any

    def __init__(self, name: str, **attributes: Any) -> None:
        self.name = name
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("__weakref__", "_secret", "friend", "name")

    def __init__(self, name: str, friend: object = None) -> None:
        self.name, self.friend = name, friend


class PrivateSlots:
    __slots__ = ("__hidden", "never_set")

    def __init__(self, hidden: object) -> None:
        self.__hidden = hidden

    def hidden(self) -> object:
        return self.__hidden


class OneSlot:
    __slots__ = "only"  # noqa: PLC0205  # a string is allowed, so it is tested

    def __init__(self, only: object) -> None:
        self.only = only


class SlotsAndDict(OneSlot):
    def __init__(self, only: object, extra: object) -> None:
        super().__init__(only)
        self.extra = extra


@dataclasses.dataclass
class Point:
    x: int
    y: int
    label: Any = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    name: str
    tags: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, weakref_slot=True)
class FrozenSlots:
    name: str
    other: Any = None


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(typing.NamedTuple):
    left: Any
    right: Any


OldPair = collections.namedtuple("OldPair", "left right")  # the untyped kind


class Bag(dict):  # type: ignore[type-arg]
    """A dict with attributes."""


class Rows(list):  # type: ignore[type-arg]
    """A list with attributes."""


class Group(set):  # type: ignore[type-arg]
    """A set with attributes."""


class Ring(collections.deque):  # type: ignore[type-arg]
    """A deque with attributes."""


class Ordered(collections.OrderedDict):  # type: ignore[type-arg]
    """An OrderedDict with attributes."""


class Word(str):
    """A string with attributes."""

    __slots__ = ("__dict__",)


class WithNewArgs:
    def __new__(cls, code: str) -> WithNewArgs:
        self = super().__new__(cls)
        self.code = code
        return self

    def __init__(self, code: str) -> None:
        self.extra: Any = None

    def __getnewargs__(self) -> tuple[str]:
        return (self.code,)


class WithNewArgsEx:
    def __new__(cls, *, code: str) -> WithNewArgsEx:
        self = super().__new__(cls)
        self.code = code
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, str]]:
        return (), {"code": self.code}


class Reduced:
    def __init__(self, name: str, held: Any = None) -> None:
        self.name, self.held = name, held

    def __reduce__(self) -> Any:
        return type(self), (self.name, self.held)


class ReducedByFunction:
    def __reduce__(self) -> Any:
        return len, ((),)


class ReducedToString:
    def __reduce__(self) -> str:
        return "somewhere"


class Stateful:
    def __init__(self, name: str) -> None:
        self.name = name
        self.handle: Any = lambda: name

    def __getstate__(self) -> dict[str, Any]:
        return {"title": self.name.upper()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.name = state["title"].lower()
        self.handle = None


class OwnNew:
    def __new__(cls, *args: Any) -> OwnNew:
        return super().__new__(cls)

    def __init__(self, name: str, other: Any = None) -> None:
        self.name, self.other = name, other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnNew) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


class SlottedNew:
    __slots__ = ("name", "never_set")

    def __new__(cls, *args: Any) -> SlottedNew:
        return super().__new__(cls)

    def __init__(self, name: str) -> None:
        self.name = name


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...


class Square(Shape):
    def __init__(self, side: float) -> None:
        self.side = side

    def area(self) -> float:
        return self.side**2


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


class Plugin:
    registry: ClassVar[list[type]] = []

    def __init_subclass__(cls, *, code: str) -> None:
        Plugin.registry.append(cls)


class GoodPlugin(Plugin, code="good"):
    def __init__(self, name: str) -> None:
        self.name = name


class SlottedPlugin(Plugin, code="slots"):
    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class Meta(type):
    made: ClassVar[list[str]] = []

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Meta:
        mcs.made.append(name)
        return super().__new__(mcs, name, bases, namespace)


class WithMeta(metaclass=Meta):
    def __init__(self, name: str) -> None:
        self.name = name


class Finalized:
    ended: ClassVar[list[str]] = []

    def __init__(self, name: str) -> None:
        self.name = name

    def __del__(self) -> None:
        Finalized.ended.append(self.name)


class Key:
    """Compared by the exact class and by value, as many classes do."""

    def __init__(self, name: str, friend: Any = None) -> None:
        self.name, self.friend = name, friend

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.name == other.name  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Key({self.name})"


class Dynamic:
    """Answers attributes that it has not, and guards those it has."""

    def __init__(self, values: dict[str, Any]) -> None:
        object.__setattr__(self, "values", values)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: object) -> None:
        self.values[name] = value

    def __delattr__(self, name: str) -> None:
        del self.values[name]


class Handy:
    """Has the special methods that syntax calls."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)
        self.log: list[str] = []

    @property
    def first(self) -> Any:
        return self.items[0]

    @first.setter
    def first(self, value: Any) -> None:
        self.items[0] = value

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Any:
        return iter(self.items)

    def __contains__(self, item: object) -> bool:
        return item in self.items

    def __getitem__(self, index: int) -> Any:
        return self.items[index]

    def __enter__(self) -> Handy:
        self.log.append("enter")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.log.append("exit")

    def __call__(self, value: int) -> int:
        return len(self.items) + value

    def __lt__(self, other: Handy) -> bool:
        return self.items < other.items


class Trouble(Exception):
    def __init__(self, code: int, about: Any = None) -> None:
        super().__init__(code, about)
        self.code = code


class Account(Persistent):  # type: ignore[misc]
    def __init__(self, owner: Any = None) -> None:
        self.owner = owner
        self.balance = 0


class Money:
    """Stored by a collapse/expand pair."""

    def __init__(self, amount: int, currency: str, note: Any = None) -> None:
        self.amount, self.currency, self.note = amount, currency, note

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.amount)

    @staticmethod
    def collapse(money: Money) -> Any:
        return (money.amount, money.currency, money.note)

    @staticmethod
    def expand(data: Any) -> Money:
        return Money(*data)


class Thing:
    """In no type map of the tests."""

    def __init__(self, name: str = "thing") -> None:
        self.name = name


class StrictState:
    """Its state fits only while :attr:`broken` is off."""

    broken: ClassVar[type[Exception] | None] = None

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return "made up"

    def __setstate__(self, state: dict[str, Any]) -> None:
        if self.broken:
            raise self.broken("broken")
        self.__dict__.update(state)


CLASSES: list[Any] = [
    Person, Slotted, SlottedNew, PrivateSlots, OneSlot, SlotsAndDict, Point, Frozen, FrozenSlots, Colour, Rights, Pair, OldPair,
    Bag, Rows, Group, Ring, Ordered, Word, WithNewArgs, WithNewArgsEx, Reduced, ReducedByFunction, ReducedToString,
    Stateful, OwnNew, Square, Box, GoodPlugin, SlottedPlugin, WithMeta, Finalized, Key, Dynamic, Handy, Trouble, Account,
    StrictState,
]  # fmt: skip


class Employee(Person):
    """A subclass that no map names by itself."""
