"""Capabilities: what one backend or adapter can do and another cannot."""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable
from typing import Any, ClassVar, TypeVar

import pytest

from kiokupy.errors import TargetError

Test = TypeVar("Test", bound=Callable[..., Any])


class Capability(enum.StrEnum):
    """What a backend declares; its value may be written as a plain string."""

    LASTING = "lasting"  #: the store is there when the target is opened again
    SHARED = "shared"  #: several directories, also of several processes, have the store open at once
    READONLY = "readonly"  #: the store opens with ``readonly=1``
    HISTORY = "history"  #: what an object was before is kept until the store is packed


class AdapterCapability(enum.StrEnum):
    """What a web adapter declares; its value may be written as a plain string."""

    LAZY = "lazy"  #: a request that does not touch its session does not ask the store, whatever its cookie says
    MERGING = (
        "merging"  #: requests of one session at a time are merged; a session in the application's transaction is not
    )
    PARTITIONED = "partitioned"  #: the cookie can be one that a page of another site, with us in a frame, has apart
    STREAMING = "streaming"  #: the body of an answer can be made while it is sent


class Declaring:
    """A suite whose subclasses say which capabilities they have; tests that need others are skipped."""

    #: What there is to declare.
    known: ClassVar[type[enum.StrEnum]]
    #: What is declared.
    capabilities: ClassVar[Collection[str]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        check(cls.capabilities, cls.known)

    @pytest.fixture(autouse=True)
    def _capable(self, request: pytest.FixtureRequest) -> None:
        for capability in missing(request.function, self.capabilities):
            pytest.skip(f"{type(self).__name__} does not declare the capability {capability.name}")


def needs(*capabilities: enum.StrEnum) -> Callable[[Test], Test]:
    """Let a test of the suite run only for subclasses that declare all of ``capabilities``."""

    def mark(test: Test) -> Test:
        test.__dict__["needs"] = capabilities
        return test

    return mark


def missing(test: object, declared: Iterable[str]) -> list[enum.StrEnum]:
    """Return the capabilities that a test needs and that are not declared."""
    return [capability for capability in getattr(test, "needs", ()) if capability not in declared]


def check(declared: Iterable[str], known: type[enum.StrEnum]) -> None:
    """Refuse the name of a capability that there is not, which would silently skip nothing.

    :raises TargetError: there is one.
    """
    for name in declared:
        if name not in set(known):
            fix = f"There are: {', '.join(known)}"
            raise TargetError(f"there is no capability {str(name)!r}", target=name, fix=fix)
