"""Capabilities: what one backend can do and another cannot."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from kiokupy.errors import TargetError

Test = TypeVar("Test", bound=Callable[..., Any])


class Capability(enum.StrEnum):
    """What a backend declares; its value may be written as a plain string."""

    LASTING = "lasting"  #: the store is there when the target is opened again
    SHARED = "shared"  #: several directories, also of several processes, have the store open at once
    READONLY = "readonly"  #: the store opens with ``readonly=1``
    HISTORY = "history"  #: what an object was before is kept until the store is packed


def needs(*capabilities: Capability) -> Callable[[Test], Test]:
    """Let a test of the suite run only for backends that declare all of ``capabilities``."""

    def mark(test: Test) -> Test:
        test.__dict__["needs"] = capabilities
        return test

    return mark


def missing(test: object, declared: Iterable[str]) -> list[Capability]:
    """Return the capabilities that a test needs and that are not declared."""
    return [capability for capability in getattr(test, "needs", ()) if capability not in declared]


def check(declared: Iterable[str]) -> None:
    """Refuse the name of a capability that there is not, which would silently skip nothing.

    :raises TargetError: there is one.
    """
    for name in declared:
        if name not in set(Capability):
            known = ", ".join(Capability)
            raise TargetError(f"there is no capability {str(name)!r}", target=name, fix=f"There are: {known}")
