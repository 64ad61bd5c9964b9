"""Ghosts: live objects whose state is not loaded yet.

A ghost is an instance of an empty subclass of its real class. The first touch of an attribute loads it: the object then
*is* of its real class (``__class__`` is assigned), keeps its identity, and costs nothing more than any other object.
Inherited special methods written in Python load by themselves, since they touch attributes of ``self``.

Only plain classes can be ghosts: made by ``object.__new__``, without pickle methods of their own. Objects of other
classes are loaded at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kiokupy.errors import ScopeClosed
from kiokupy.typemap import Rule, name_of

#: Fills the ghost that is registered under an id, or raises and leaves it a ghost.
Loader = Callable[[str, object], None]

# Keyed by id(): a class with __slots__ leaves no room on the object itself. The scope that registers a ghost holds
# it, and takes it out when it closes, so a key never outlives its object.
_waiting: dict[int, tuple[Loader, str]] = {}
_ghost_classes: dict[type, type | None] = {}
_real_classes: dict[type, type] = {}


class Ghost:
    """What every ghost class defines: each way to touch an object loads it first."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":  # what isinstance() and a dataclass's __eq__ ask for
            return real_class(self)
        load(self)
        return getattr(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        load(self)
        setattr(self, name, value)

    def __delattr__(self, name: str) -> None:
        load(self)
        delattr(self, name)

    def __reduce_ex__(self, protocol: Any) -> Any:  # copy and pickle look it up on the type
        load(self)
        return self.__reduce_ex__(protocol)

    def __del__(self) -> None:
        """Leave the real class's finalizer alone: there is nothing yet that it could finalize."""


class _Quiet:
    """Keeps the making of a ghost class from the real class's ``__init_subclass__``, which may register subclasses."""

    __slots__ = ()

    def __init_subclass__(cls, **options: object) -> None:
        pass


class _QuietWithDict(_Quiet):
    pass


def ghost_class(rule: Rule) -> type | None:
    """Return the class of ghosts for a rule's class, or ``None`` where its objects cannot be ghosts."""
    cls = rule.cls
    if not rule.plain:
        return None
    if cls not in _ghost_classes:
        _ghost_classes[cls] = made = _derive(cls)
        if made is not None:
            _real_classes[made] = cls
    return _ghost_classes[cls]


def _derive(cls: type) -> type | None:
    # Which base a class without slots of its own is laid out after is CPython's choice; a probe tells.
    customized = hasattr(cls.__init_subclass__, "__func__")
    for bases in [(_Quiet, cls), (_QuietWithDict, cls)] if customized else [(cls,)]:
        try:
            made = _make_class(cls, bases)
            object.__setattr__(object.__new__(made), "__class__", cls)
        except TypeError:  # a layout of its own, or a base that allows no subclass
            continue
        return made
    return None


def _make_class(cls: type, bases: tuple[type, ...]) -> type:
    namespace = {name: value for name, value in vars(Ghost).items() if callable(value)}
    namespace |= {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    # type.__new__ itself: a metaclass may do anything when a class is made, and this one is nobody's business.
    return type.__new__(type(cls), cls.__name__, bases, namespace)


def is_ghost(obj: object) -> bool:
    """Tell whether an object's state is still to be loaded; never loads it."""
    return type(obj) in _real_classes


def real_class(obj: object) -> type:
    """Return the class an object has once it is loaded; never loads it."""
    cls = type(obj)
    return _real_classes.get(cls, cls)


def make(cls: type) -> object:
    """Return a new ghost, of a class that :func:`ghost_class` gave."""
    return object.__new__(cls)


def register(ghost: object, loader: Loader, key: str) -> None:
    """Let the first touch of ``ghost`` call ``loader(key, ghost)``."""
    _waiting[id(ghost)] = (loader, key)


def unregister(ghost: object) -> None:
    """Forget a ghost: from now on its touch raises :class:`~kiokupy.errors.ScopeClosed`."""
    _waiting.pop(id(ghost), None)


def load(ghost: object) -> None:
    """Load a ghost now; an object that is none is left alone.

    :raises ScopeClosed: its scope has ended, or belongs to another thread that has ended it.
    """
    waiting = _waiting.get(id(ghost))
    if waiting is None:
        if is_ghost(ghost):
            raise ScopeClosed(f"an unloaded {name_of(real_class(ghost))}")
        return
    loader, key = waiting
    loader(key, ghost)


def awaken(ghost: object) -> None:
    """Turn a ghost into an empty object of its real class, for the expander to fill."""
    unregister(ghost)
    object.__setattr__(ghost, "__class__", real_class(ghost))


def hollow(obj: object, ghost_cls: type) -> None:
    """Turn a loaded object into a ghost again; its state is let go."""
    empty(obj)
    object.__setattr__(obj, "__class__", ghost_cls)


def empty(obj: object) -> None:
    """Take every attribute and item from an object."""
    for builtin in (dict, list, set):
        if isinstance(obj, builtin):
            builtin.clear(obj)  # type: ignore[arg-type]  # the loop pairs each type with its own clear
    state = getattr(obj, "__dict__", None)
    if state is not None:
        state.clear()
    for slot in slots_of(type(obj)):
        try:
            object.__delattr__(obj, slot)
        except AttributeError:  # a slot that is not set
            continue


def slots_of(cls: type) -> list[str]:
    """Return the names of the slots an object of ``cls`` has, mangled as they are on the object."""
    found = []
    for base in cls.__mro__:
        names = base.__dict__.get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name in ("__dict__", "__weakref__"):
                continue
            private = name.startswith("__") and not name.endswith("__")
            found.append(f"_{base.__name__.lstrip('_')}{name}" if private else name)
    return found
