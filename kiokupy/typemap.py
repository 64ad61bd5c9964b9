"""The type map: which classes may be stored, and how. What it does not name is refused, both ways.

The allow-list of the unpickler comes from here and from nowhere else: a record in the store can name only what an
application named before.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterable
from typing import Any

from persistent import Persistent

from kiokupy import standard
from kiokupy.broken import Broken, class_for
from kiokupy.errors import NotLoadable, TargetError
from kiokupy.rules import Keep, Rule, default_rule, name_of

#: What :class:`TypeMap` takes: a class, a rule, or the name of a module whose classes are all meant.
Allowed = type | Rule | str


class TypeMap:
    """Which classes may be stored, and how.

    :param allowed: classes (each first-class, unless its objects are immutable values: enum members and subclasses of
        ``tuple``, ``str``, numbers and the like are intrinsic), :class:`Rule` objects, and module names:
        ``"shop.models"`` names every class defined in that module and below it, ``"shop.models:Cart"`` one class.
        Objects of a class that is named by a string and is gone are loaded as :class:`~kiokupy.broken.Broken` ones.
    """

    def __init__(self, allowed: Iterable[Allowed] = ()) -> None:
        self._rules: dict[type, Rule] = {}
        # What follows from the rules and prefixes; forgotten whenever one is added.
        self._derived: dict[type, Rule | None] = {}
        self._inherited: list[Rule] = []
        # Classes by ``module:qualname``.
        self._names: dict[str, Any] = {}
        #: Earlier names of classes, as ``module:qualname``.
        self.aliases: set[str] = set()
        self._prefixes: list[str] = []
        self._singles: list[str] = []
        self._broken: dict[str, type[Broken]] = {}
        for rule in standard.RULES:
            self._add(rule)
        for item in allowed:
            self.allow(item)

    def allow(self, item: Allowed) -> None:
        """Add a class, a rule, or a module name to the map; the last word about a class counts."""
        if isinstance(item, Rule):
            self._add(item)
        elif isinstance(item, type):
            self._add(default_rule(item))
        elif isinstance(item, str) and item.strip(" .:"):
            (self._singles if ":" in item else self._prefixes).append(item.rstrip("."))
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

    def refers_to(self, cls: type) -> bool:
        """Tell whether objects of a class are referred to, not written inside their holder; or refused."""
        rule = self.rule_for(cls)
        return rule is None or rule.keep is Keep.FIRST_CLASS

    def find(self, module: str, qualname: str) -> Any:
        """Return the class a record names. Nothing is imported that the map does not name.

        :raises NotLoadable: the map does not name it, or it is no class, or it is gone.
        """
        name = f"{module}:{qualname}"
        try:
            return self._names[name]
        except KeyError:
            found = self._names[name] = self._import(module, qualname)
            return found

    def class_named(self, name: str) -> type[Any]:
        """Return the class of an entry's name ``module:qualname``; for one that is gone, a class of broken objects.

        :raises NotLoadable: the map does not name it.
        """
        known: type[Any] | None = self._names.get(name)
        if known is not None:
            return known
        module, _, qualname = name.partition(":")
        try:
            found: type[Any] = self.find(module, qualname)
        except NotLoadable as error:
            if not error.gone:
                raise
            return self._broken.setdefault(name, class_for(name))
        return found

    def _add(self, rule: Rule) -> None:
        self._rules[rule.cls] = rule
        if rule.subclasses:
            self._inherited.append(rule)
            self._derived = {}
        self.aliases.update(rule.aliases)
        for name in (name_of(rule.cls), *rule.aliases):
            self._names[name] = rule.cls

    def _derive(self, cls: type) -> Rule | None:
        for rule in reversed(self._inherited):
            if issubclass(cls, rule.cls):
                return dataclasses.replace(rule, cls=cls, subclasses=False, aliases=())
        if self._covers(name_of(cls)) or _is_container_record(cls) or issubclass(cls, Broken):
            return default_rule(cls)
        return None

    def _covers(self, name: str) -> bool:
        module = name.partition(":")[0]
        return name in self._singles or any(_inside(module, prefix) for prefix in self._prefixes)

    def _import(self, module: str, qualname: str) -> Any:
        name = f"{module}:{qualname}"
        named = self._covers(name) or is_container_module(module)
        if not named and not self._inherited:
            raise NotLoadable(name)
        try:
            found = _walk(importlib.import_module(module) if named else None, module, qualname)
        except (ImportError, AttributeError) as error:
            raise NotLoadable(name, reason=f"it cannot be imported ({error})", gone=named) from error
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
    """Tell whether a module is one of ZODB's or our own whose containers are data types like a dict.

    The tests that are installed with them are code that nobody asked to run.
    """
    package, *rest = module.split(".")
    return (package in _CONTAINER_PACKAGES and "tests" not in rest) or _inside(module, _COLLECTIONS)


def _inside(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


#: ZODB's own containers: each object of theirs is a record, and they are data types like a dict.
_CONTAINER_PACKAGES = frozenset({"BTrees", "persistent"})
_COLLECTIONS = "kiokupy.collections"
