"""The root of the error tree."""

from __future__ import annotations

import copyreg
from typing import Any


class KiokuError(Exception):
    """The root of everything kiokupy raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:  # an error crosses to other processes with its evidence
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # in no stubs
