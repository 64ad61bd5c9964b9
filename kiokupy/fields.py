"""Fields: attributes whose values are loaded when they are touched, not with the object that has them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kiokupy.errors import ScopeClosed
from kiokupy.holder import Holder
from kiokupy.rules import name_of

_MISSING = object()


def lazy(*, default: Any = _MISSING, default_factory: Callable[[], Any] | None = None) -> Any:
    """Return an attribute whose value has an entry of its own, and is loaded when it is touched.

    ``photo = lazy()`` in a class, or ``photo: bytes = lazy(default=b"")`` in a dataclass. A value is assigned, changed
    and deleted as usual; assigned anew it gets a new entry, and the old one is garbage. What is stored without being
    touched is not loaded. One-shot verbs do not load it: touch it in a scope, or it raises
    :class:`~kiokupy.errors.ScopeClosed`.

    :param default: what the attribute is while it is not set; without one it raises :class:`AttributeError`.
    :param default_factory: makes the default of an object when it is first asked for, as ``list`` does.
    """
    return Lazy(default, default_factory)


class Lazy:
    """The descriptor that :func:`lazy` makes."""

    def __init__(self, default: Any, default_factory: Callable[[], Any] | None) -> None:
        self._default, self._factory, self._name = default, default_factory, ""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, obj: Any, owner: type) -> Any:
        if obj is None:
            return self
        held = obj.__dict__.get(self._name, _MISSING)
        if held is _MISSING:
            return self._unset(obj)
        if not isinstance(held, Holder):  # stored before the attribute was lazy
            return held
        try:
            return held.value
        except ScopeClosed:
            raise ScopeClosed(f"the unloaded {self._name} of a {name_of(owner)}") from None

    def __set__(self, obj: Any, value: Any) -> None:
        if value is not self:  # which is what a dataclass takes for the default
            obj.__dict__[self._name] = Holder(value)

    def __delete__(self, obj: Any) -> None:
        if obj.__dict__.pop(self._name, _MISSING) is _MISSING:
            raise AttributeError(self._name)

    def _unset(self, obj: Any) -> Any:
        if self._factory is not None:
            made = self._factory()
            self.__set__(obj, made)
            return made
        if self._default is _MISSING:
            raise AttributeError(f"{type(obj).__name__!r} object has no attribute {self._name!r}")
        return self._default
