"""The application that the suite keeps in a backend: people, their badges, their accounts."""

from __future__ import annotations

import dataclasses
import enum
from typing import Any, NamedTuple

from persistent import Persistent


class Person:
    """Anybody; takes any attributes."""

    name: str
    friend: Any
    friends: list[Person]
    badge: Badge

    def __init__(self, name: str, **attributes: Any) -> None:
        self.name = name
        self.__dict__.update(attributes)


class Employee(Person):
    """A person whose class must be kept."""


class Badge:
    """Has slots, and no room for anything else."""

    __slots__ = ("__weakref__", "number", "owner")

    def __init__(self, number: int, owner: object = None) -> None:
        self.number, self.owner = number, owner


@dataclasses.dataclass
class Account:
    """Money that moves."""

    balance: int
    moves: int = 0


class Ledger(Persistent):  # type: ignore[misc]  # persistent has no annotations
    """A record of ZODB's own kind, which may hold plain objects."""

    def __init__(self, *owners: object) -> None:
        self.owners = list(owners)


class Tags(list[str]):
    """A list with attributes."""

    origin: str


class Place(NamedTuple):
    """An immutable value."""

    street: str
    number: int


class Role(enum.Enum):
    """What somebody does."""

    COOK = "cook"
    GUEST = "guest"


class Stranger:
    """In no type map, so that it cannot be stored."""


CLASSES: list[type] = [Person, Employee, Badge, Account, Ledger, Tags, Place, Role]
