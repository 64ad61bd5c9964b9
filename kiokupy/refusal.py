"""Refusal: an object that cannot be stored, before it is known where the way to it began."""

from __future__ import annotations

import io
import pickle
import sys
import types
from typing import NoReturn

from kiokupy import ghosts, paths
from kiokupy.errors import KiokuError, NotStorable
from kiokupy.rules import name_of

LEAVE_OUT = "Leave it out of the object's state: Rule(..., do_not_serialize=[...]), or __getstate__"

_HOPELESS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.ModuleType,
    types.GeneratorType,
    types.CoroutineType,
    types.FrameType,
    types.TracebackType,
    type,
    io.IOBase,
)


class Refusal(Exception):
    """An object cannot be stored; whoever knows where the walk began makes the :class:`NotStorable` of it."""

    def __init__(self, culprit: object, reason: str = "", fix: str = "") -> None:
        super().__init__(reason)
        self.culprit, self.reason, self.fix = culprit, reason, fix

    def error(self, root: object, name: str = "") -> NotStorable:
        """Return the error to raise, its path beginning at ``root``."""
        cls = ghosts.real_class(self.culprit)
        path = paths.find(root, self.culprit, name=name)
        return NotStorable(path, name_of(cls), reason=self.reason, fix=self.fix)


class TooDeep(Refusal):
    """An object holds containers within containers, deeper than the pickler can go."""


def refuse(culprit: object, error: Exception) -> NoReturn:
    """Raise what pickling raised: as a refusal of the culprit, or as it is, if it says something else."""
    if isinstance(error, RecursionError):
        problem = f"it is nested too deeply ({error})"
        raise TooDeep(culprit, problem, "Give the parts entries of their own") from error
    pickling = isinstance(error, TypeError | AttributeError | ValueError | pickle.PicklingError)
    if pickling and not isinstance(error, KiokuError):
        raise Refusal(culprit, f"it cannot be pickled ({error})", LEAVE_OUT) from error
    raise error


def not_allowed(obj: object, cls: type) -> Refusal:
    """Return the refusal of an object whose class the type map does not name."""
    heap_type = bool(cls.__flags__ & 1 << 9)  # Py_TPFLAGS_HEAPTYPE: defined by a class statement, or like one
    if isinstance(obj, _HOPELESS) or not heap_type or cls.__module__ in sys.builtin_module_names:
        return Refusal(obj, fix=LEAVE_OUT)
    return Refusal(obj, fix=f"To allow it: connect(..., allow_classes=[{cls.__name__}])")
