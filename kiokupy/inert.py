"""Inert: reads a pickle without importing, calling or changing anything that it names."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any, ClassVar

from kiokupy import entry as stored


class StandIn:
    """Takes the place of whatever a pickle names; notes what the pickle does to it, and does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.args: tuple[Any, ...] = ()
        self.state: Any = None
        self.items: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []

    def made(self, args: Any) -> StandIn:
        """Note a call of a class or function."""
        result = StandIn(self.name)
        result.args = args if isinstance(args, tuple) else (args,)
        return result


class Key:
    """Holds a key of a dict, or an element of a set, that is no plain value.

    To hash a tuple visits all it holds, shared parts each time anew: a few bytes of pickle can take forever, or more
    stack than there is.
    """

    def __init__(self, value: Any) -> None:
        self.value = value


class _Reader(pickle._Unpickler):
    """Reads a pickle inertly.

    The C unpickler would set state on, and call, whatever it finds. This one, Python's own in Python, lets each step
    that touches an object be replaced; it is many times slower, which a command that shows data to people can afford.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)

    # What the standard library's stubs leave out.
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, data: bytes, refs: tuple[str, ...], weak: tuple[str, ...]) -> None:
        super().__init__(io.BytesIO(data))
        self._refs, self._weak = refs, weak

    def find_class(self, module: str, name: str) -> Any:
        """Import nothing."""
        return StandIn(f"{module}:{name}")

    def persistent_load(self, pid: Any) -> Any:
        """Refer to a container that has an entry of its own, or to a record of ZODB."""
        match pid:
            case (int() as position, str()) if 0 <= position < len(self._refs):
                return Reference(self._refs[position])
        reference = StandIn("ZODB:reference")
        reference.args = (pid,)
        return reference

    def load_reduce(self) -> None:
        """Note a call."""
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj(self) -> None:
        """Note the making of an object."""
        self.load_reduce()

    def load_newobj_ex(self) -> None:
        """Note the making of an object with keyword arguments."""
        kwargs = self.stack.pop()
        self.load_reduce()
        if isinstance(self.stack[-1], StandIn) and kwargs:
            self.stack[-1].pairs += list(kwargs.items())

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self._call(klass, tuple(args)))

    def load_build(self) -> None:
        """Note a state."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], StandIn):
            self.stack[-1].state = state

    def load_append(self) -> None:
        """Note an item."""
        value = self.stack.pop()
        _items(self.stack[-1]).append(value)

    def load_appends(self) -> None:
        """Note items."""
        values = self.pop_mark()
        _items(self.stack[-1]).extend(values)

    def load_setitem(self) -> None:
        """Note a pair."""
        value, key = self.stack.pop(), self.stack.pop()
        _add_pairs(self.stack[-1], [(key, value)])

    def load_setitems(self) -> None:
        """Note pairs."""
        flat = self.pop_mark()
        _add_pairs(self.stack[-1], list(zip(flat[::2], flat[1::2], strict=True)))

    def load_additems(self) -> None:
        """Note the elements of a set."""
        elements = self.pop_mark()
        target = self.stack[-1]
        target.update(map(_key, elements)) if isinstance(target, set) else _items(target).extend(elements)

    def load_frozenset(self) -> None:
        """Make a frozenset of what can be in one."""
        elements = self.pop_mark()  # first: it changes what self.append is
        self.append(frozenset(map(_key, elements)))

    def load_dict(self) -> None:
        """Make a dict of what is on the stack."""
        flat = self.pop_mark()
        self.append({_key(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)})

    def load_bytearray8(self) -> None:
        """Make a bytearray, of no more memory than there is data."""
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(size)))

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("the record uses an opcode that kiokupy never writes")

    def _call(self, target: Any, args: Any) -> Any:
        if not isinstance(target, StandIn):
            return StandIn(f"a call of {type(target).__name__}").made(args)
        match target.name.removeprefix(f"{stored.__name__}:"), args:
            case "ref", (int() as position, _) if 0 <= position < len(self._refs):
                return Reference(self._refs[position])
            case "weak", (int() as position, _) if position < len(self._weak):
                return WeakReference(self._weak[position] if position >= 0 else None)
        return target.made(args)

    for _opcode, _method in {
        pickle.REDUCE: load_reduce,
        pickle.NEWOBJ: load_newobj,
        pickle.NEWOBJ_EX: load_newobj_ex,
        pickle.BUILD: load_build,
        pickle.APPEND: load_append,
        pickle.APPENDS: load_appends,
        pickle.SETITEM: load_setitem,
        pickle.SETITEMS: load_setitems,
        pickle.ADDITEMS: load_additems,
        pickle.FROZENSET: load_frozenset,
        pickle.DICT: load_dict,
        pickle.BYTEARRAY8: load_bytearray8,
        pickle.EXT1: _refuse,
        pickle.EXT2: _refuse,
        pickle.EXT4: _refuse,
    }.items():
        dispatch[_opcode[0]] = _method


class Reference(StandIn):
    """A reference to another entry."""

    def __init__(self, id: str) -> None:
        super().__init__("kiokupy:reference")
        self.id = id


class WeakReference(StandIn):
    """A weak reference to another entry; ``id`` is ``None`` if it was dead."""

    def __init__(self, id: str | None) -> None:
        super().__init__("kiokupy:weak reference")
        self.id = id


def read(data: bytes, refs: tuple[str, ...] = (), weak: tuple[str, ...] = ()) -> Any:
    """Return what a pickle holds, with stand-ins for all that is not plain data.

    :raises ValueError: the pickle is malformed.
    """
    try:
        return _Reader(data, refs, weak).load()
    except Exception as error:  # a hostile pickle can trip the reader in any way it likes
        raise ValueError(f"the pickle cannot be read ({type(error).__name__}: {error})") from error


def _items(target: Any) -> list[Any]:
    if isinstance(target, StandIn):
        return target.items
    if isinstance(target, list):
        return target
    raise pickle.UnpicklingError(f"items for a {type(target).__name__}")


def _add_pairs(target: Any, pairs: list[tuple[Any, Any]]) -> None:
    if isinstance(target, StandIn):
        target.pairs += pairs
    elif isinstance(target, dict):
        target.update((_key(key), value) for key, value in pairs)
    else:
        raise pickle.UnpicklingError(f"pairs for a {type(target).__name__}")


def _key(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str | bytes) else Key(value)
