"""Targets: a store as it is named on a command line."""

from __future__ import annotations

from typing import Any

from kiokupy import backends


def target_of(text: str) -> Any:
    """Return the target of :func:`kiokupy.connect` that a word names: itself, or a FileStorage's path."""
    is_path = ":" not in text and text not in backends.names() and not text.endswith((".toml", ".yaml", ".yml"))
    return {"backend": "File", "path": text} if is_path else text
