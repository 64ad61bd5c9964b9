"""Ghosts: live objects whose state is not loaded yet.

A ghost is an instance of an empty subclass of its real class. The first touch of an attribute loads it: the object then
*is* of its real class (``__class__`` is assigned), keeps its identity, and costs nothing more than any other object.
Special methods, which Python looks up on the class, load it too: one that asks for ``type(self)`` sees the real class.

Only plain classes can be ghosts: made by ``object.__new__``, without pickle methods of their own. Objects of other
classes are loaded at once.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from types import FunctionType
from typing import Any

from kiokupy.errors import ScopeClosed
from kiokupy.rules import Rule, name_of

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

    def __del__(self) -> None:
        """Leave the real class's finalizer alone: there is nothing yet that it could finalize."""


class _Quiet:
    """Keeps the making of a ghost class from the real class's ``__init_subclass__``, which may register subclasses."""

    __slots__ = ()

    def __init_subclass__(cls, **options: object) -> None:
        pass


def _quiet_mro(cls: type) -> list[type]:
    first, *rest = type.mro(cls)
    return [first, _Quiet, *rest]


def ghost_class(rule: Rule) -> type | None:
    """Return the class of ghosts for a rule's class, or ``None`` where its objects cannot be ghosts."""
    cls = rule.cls
    if not rule.plain:
        return None
    if cls not in _ghost_classes:
        made = _derive(cls)
        if made is not None:  # first, since another thread takes what it finds in _ghost_classes
            _real_classes[made] = cls
        _ghost_classes[cls] = made
    return _ghost_classes[cls]


def _derive(cls: type) -> type | None:
    try:
        made = _make_class(cls)
        probe: object = object.__new__(made)
        object.__setattr__(probe, "__class__", cls)
        object.__setattr__(probe, "__class__", made)  # the real class may have a finalizer
    except TypeError:  # a layout of its own, or a base that allows no subclass
        return None
    return made


def _make_class(cls: type) -> type:
    namespace: dict[str, Any] = {name: _loading(name) for name in _special_methods(cls)}
    namespace.setdefault("__hash__", cls.__hash__)  # defining __eq__ alone would make it None
    namespace |= {name: value for name, value in vars(Ghost).items() if callable(value)}
    namespace |= {"__slots__": (), "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    meta: Any = type(cls)
    if hasattr(cls.__init_subclass__, "__func__"):  # as a base _Quiet might decide the layout, in the MRO it does not
        meta = type.__new__(type(meta), meta.__name__, (meta,), {"mro": _quiet_mro})
    # type.__new__ itself: a metaclass may do anything when a class is made, and this one is nobody's business.
    made: type = type.__new__(meta, cls.__name__, (cls,), namespace)
    return made


#: Called on classes or on objects under construction, or, as ``__getattr__``, after ``Ghost.__getattribute__``.
_NOT_TOUCHING = frozenset({"__new__", "__init__", "__getattr__", "__init_subclass__", "__class_getitem__"})


def _special_methods(cls: type) -> set[str]:
    return {
        name
        for base in cls.__mro__[:-1]
        for name, value in vars(base).items()
        if name[:2] == name[-2:] == "__" and isinstance(value, FunctionType) and name not in _NOT_TOUCHING
    }


def _loading(name: str) -> Callable[..., Any]:
    def touch(self: object, *args: Any, **kwargs: Any) -> Any:
        for obj in (self, *args):  # an __eq__ may compare the types of both
            load(obj)
        return getattr(type(self), name)(self, *args, **kwargs)

    return touch


def is_ghost(obj: object) -> bool:
    """Tell whether an object's state is still to be loaded; never loads it."""
    return type(obj) in _real_classes


def real_class(obj: object) -> type:
    """Return the class an object has once it is loaded; never loads it."""
    cls = type(obj)
    return _real_classes.get(cls, cls)


def has_own_hash(cls: type) -> bool:
    """Tell whether an object's hash may need its state."""
    own: object = cls.__hash__
    return own is not None and own is not object.__hash__


def make(cls: type) -> object:
    """Return a new ghost, of a class that :func:`ghost_class` gave."""
    return object.__new__(cls)


def register(ghost: object, loader: Loader, key: str) -> None:
    """Let the first touch of ``ghost`` call ``loader(key, ghost)``."""
    _waiting[id(ghost)] = (loader, key)


def unregister(ghost: object) -> None:
    """Forget a ghost: from now on its touch raises :class:`~kiokupy.errors.ScopeClosed`."""
    _waiting.pop(id(ghost), None)


def waiting() -> int:
    """Return how many ghosts are registered, in all scopes; none is when every scope has ended."""
    return len(_waiting)


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


def awaken(ghost: object, cls: type) -> None:
    """Turn a ghost into an empty object of a class, its real one as a rule, for the expander to fill.

    :raises TypeError: the objects of that class have another layout than the ghost.
    """
    object.__setattr__(ghost, "__class__", cls)
    unregister(ghost)


def hollow(obj: object, ghost_cls: type) -> None:
    """Turn a loaded object into a ghost again; its state is let go."""
    empty(obj)
    object.__setattr__(obj, "__class__", ghost_cls)


def empty(obj: object) -> None:
    """Take every attribute and item from an object."""
    for builtin, _ in _builtins_of(obj):
        builtin.clear(obj)
    state = getattr(obj, "__dict__", None)
    if state is not None:
        state.clear()
    for slot in slots_of(type(obj)):
        try:
            object.__delattr__(obj, slot)
        except AttributeError:  # a slot that is not set
            continue


def transplant(source: Any, target: Any) -> None:
    """Let an object have the attributes and items of another one of its class, and no others."""
    empty(target)
    for _, fill in _builtins_of(target):
        fill(target, source)
    target_state = getattr(target, "__dict__", None)
    if target_state is not None:
        target_state.update(source.__dict__)
    for slot in slots_of(type(target)):
        try:
            object.__setattr__(target, slot, object.__getattribute__(source, slot))
        except AttributeError:  # a slot that is not set
            continue


def _builtins_of(obj: object) -> list[tuple[Any, Callable[[Any, Any], Any]]]:
    """Return the builtin container that an object extends, if any, and what fills it; past any overrides."""
    return [pair for pair in _BUILTINS if isinstance(obj, pair[0])][:1]


# OrderedDict before dict: its order is lost on dict.clear().
_BUILTINS: list[tuple[Any, Callable[[Any, Any], Any]]] = [
    (OrderedDict, OrderedDict.update),
    (dict, dict.update),
    (list, list.extend),
    (set, set.update),
    (deque, deque.extend),
    (bytearray, bytearray.extend),
]


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
