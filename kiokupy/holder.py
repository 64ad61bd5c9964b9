"""Holder: gives a value that has no id of its own an entry, so that it is loaded, and seen to change, by itself."""

from __future__ import annotations

from typing import Any


class Holder:
    """A first-class object with nothing but a value; users see the value only."""

    def __init__(self, value: Any) -> None:
        self.value = value
