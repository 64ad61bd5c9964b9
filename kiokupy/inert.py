"""Inert: reads a pickle without importing, calling or changing anything that it names."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from kiokupy import entry as stored

_REF, _WEAK = f"{stored.__name__}:ref", f"{stored.__name__}:weak"


class StandIn:
    """Takes the place of whatever a pickle names; notes what the pickle does to it, and does nothing."""

    def __init__(self, name: str) -> None:
        self.name = name
        #: What made it: "call" or "new"; empty for what the pickle only names.
        self.how = ""
        #: What was called, if that is not simply named.
        self.called: Any = None
        self.args: Any = ()
        self.keywords: dict[Any, Any] = {}
        self.state: Any = None
        self.items: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []

    def made(self, args: Any, how: str = "call") -> StandIn:
        """Note a call of a class or function."""
        result = StandIn(self.name)
        result.how, result.called = how, self if self.how else None
        result.args = args if isinstance(args, tuple) else (args,)
        return result


class Elements(list[Any]):
    """The elements of a set or a frozenset in the order of the pickle; none is hashed."""

    def __init__(self, elements: Iterable[Any] = (), *, frozen: bool = False) -> None:
        super().__init__(elements)
        self.frozen = frozen


class Key:
    """Holds a key of a dict that is no plain value.

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
        self._references = {_REF: refs, _WEAK: weak}

    def find_class(self, module: str, name: str) -> Any:
        """Import nothing."""
        return StandIn(f"{module}:{name}")

    def persistent_load(self, pid: Any) -> Any:
        """Refer to a container that has an entry of its own, or to a record of ZODB."""
        ids = self._references[_REF]
        match pid:
            case (int() as position, str() as class_name) if 0 <= position < len(ids):
                return Reference(ids[position], class_name)
        return RecordReference(pid)

    def load_reduce(self) -> None:
        """Note a call."""
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj(self) -> None:
        """Note the making of an object."""
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args, "new")

    def load_newobj_ex(self) -> None:
        """Note the making of an object with keyword arguments."""
        keywords = self.stack.pop()
        self.load_newobj()
        self.stack[-1].keywords = dict(keywords)

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
        _items(self.stack[-1]).extend(elements)

    def load_empty_set(self) -> None:
        """Make a set."""
        self.append(Elements())

    def load_frozenset(self) -> None:
        """Make a frozenset."""
        elements = self.pop_mark()  # first: it changes what self.append is
        self.append(Elements(elements, frozen=True))

    def load_dict(self) -> None:
        """Make a dict of what is on the stack."""
        flat = self.pop_mark()
        self.append({hashable(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)})

    def load_bytearray8(self) -> None:
        """Make a bytearray, of no more memory than there is data."""
        size = int.from_bytes(self.read(8), "little")
        self.append(bytearray(self.read(size)))

    def _refuse(self) -> None:
        raise pickle.UnpicklingError("the record uses an opcode that kiokupy never writes")

    def _call(self, target: Any, args: Any, how: str = "call") -> Any:
        if not isinstance(target, StandIn):
            return StandIn(f"a call of {type(target).__name__}").made(args)
        ids = self._references.get(target.name, ())
        if ids and not target.how and isinstance(args[0], int) and 0 <= args[0] < len(ids):
            return Reference(ids[args[0]], *args[1:], weak=target.name == _WEAK)
        return target.made(args, how)

    for _opcode, _method in {
        pickle.REDUCE: load_reduce,
        pickle.NEWOBJ: load_newobj,
        pickle.NEWOBJ_EX: load_newobj_ex,
        pickle.BUILD: load_build,
        pickle.APPEND: load_append,
        pickle.APPENDS: load_appends,
        pickle.SETITEM: load_setitem,
        pickle.SETITEMS: load_setitems,
        pickle.EMPTY_SET: load_empty_set,
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

    def __init__(self, id: str, class_name: str = "", *, weak: bool = False) -> None:
        super().__init__("kiokupy:reference")
        self.id, self.class_name, self.weak = id, class_name, weak


class RecordReference(StandIn):
    """A reference to a record of ZODB, in one of the forms that :mod:`ZODB.serialize` describes."""

    def __init__(self, pid: Any) -> None:
        super().__init__("ZODB:reference")
        self.args = (pid,)


def read(data: bytes, refs: tuple[str, ...] = (), weak: tuple[str, ...] = ()) -> Any:
    """Return what a pickle holds, with stand-ins for all that is not plain data.

    :param refs: the ids that the record refers to, and ``weak`` those that it refers to weakly.
    :raises ValueError: the pickle is malformed.
    """
    return _read(data, 1, refs, weak)[0]


def read_record(data: bytes) -> tuple[Any, Any]:
    """Return what a record of ZODB holds, its class and its state, as :func:`read`."""
    cls, state = _read(data, 2)
    return cls, state


def _read(data: bytes, count: int, refs: tuple[str, ...] = (), weak: tuple[str, ...] = ()) -> list[Any]:
    try:
        reader = _Reader(data, refs, weak)
        return [reader.load() for _ in range(count)]  # with one memo
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
        target.update((hashable(key), value) for key, value in pairs)
    else:
        raise pickle.UnpicklingError(f"pairs for a {type(target).__name__}")


def hashable(value: Any) -> Any:
    """Return a value, or a :class:`Key` that holds it, to be a key of a dict."""
    return value if value is None or isinstance(value, bool | int | float | str | bytes) else Key(value)
