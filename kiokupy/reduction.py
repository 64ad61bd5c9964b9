"""Reduction: an object, taken apart by its own pickle protocol."""

from __future__ import annotations

import copyreg
import enum
from collections.abc import Callable
from typing import Any

from kiokupy import entry as stored
from kiokupy.refusal import Refusal
from kiokupy.rules import Rule, name_of

# What object.__reduce_ex__ calls; copyreg keeps the names to itself, but they stand in every pickle.
_NEWOBJ, _NEWOBJ_EX = object().__reduce_ex__(2)[0], copyreg.__dict__["__newobj_ex__"]
_LONGEST_REDUCTION = 5  # a sixth element is a function that sets the state
_GIVE_PAIR = "Give its class a Rule with a collapse/expand pair"


def take_apart(obj: object, rule: Rule) -> tuple[object, object, int]:
    """Split an object into head, state and flags.

    :raises Refusal: its protocol asks for what records cannot say.
    """
    if rule.plain:
        state = obj.__getstate__()
        return None, _kept(state, rule) if rule.do_not_serialize else state, 0
    reduced = _reduce(obj)
    func, args, state, items, pairs = (*reduced, None, None, None)[:5]
    flags, head = _head(obj, func, args)
    state = _kept(state, rule)
    if items is None and pairs is None:
        return head, state, flags
    return (
        head,
        (state, None if items is None else list(items), None if pairs is None else dict(pairs)),
        flags | stored.ITEMS,
    )


def reducer_for(rule: Rule) -> Callable[[Any], tuple[Any, ...]] | None:
    """Return what reduces the intrinsic objects of a rule's class where their own way of it will not do."""
    cls, collapse = rule.cls, rule.collapse
    if collapse is not None:
        return lambda obj: (stored.restore, (name_of(cls), collapse(obj)))
    if issubclass(cls, enum.Enum):  # its own way differs between Python versions
        return lambda obj: (cls, (obj.value,))
    return None


def _kept(state: Any, rule: Rule) -> Any:
    """Return a state without the attributes that are not to be stored."""
    left_out = rule.do_not_serialize
    if not left_out:
        return state
    if isinstance(state, dict):
        return {name: value for name, value in state.items() if name not in left_out}
    if isinstance(state, tuple):
        return tuple(_kept(part, rule) for part in state)
    return state


def _reduce(obj: object) -> tuple[Any, ...]:
    custom = copyreg.dispatch_table.get(type(obj))
    reduced = custom(obj) if custom is not None else obj.__reduce_ex__(stored.PROTOCOL)
    if isinstance(reduced, str) or len(reduced) > _LONGEST_REDUCTION:
        raise Refusal(obj, "its __reduce__ gives a form that kiokupy does not store", _GIVE_PAIR)
    return reduced


def _head(obj: object, func: object, args: Any) -> tuple[int, object]:
    cls = type(obj)
    if func is _NEWOBJ and args[0] is cls:
        return (stored.NEW, (args[1:], {})) if args[1:] else (0, None)
    if func is _NEWOBJ_EX and args[0] is cls:
        return stored.NEW, (tuple(args[1]), dict(args[2]))
    if func is cls:
        return stored.CALL, (tuple(args), {})
    raise Refusal(obj, f"its __reduce__ calls {func!r:.60}, and records call nothing but classes", _GIVE_PAIR)
