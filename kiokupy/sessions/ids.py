"""Session ids: the secret that a client holds, and the key that the store knows it by."""

from __future__ import annotations

import hashlib
import re
import secrets

_ID_SYNTAX = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_HANDLE_BYTES = 8


def new_id() -> str:
    """Return a fresh session id: 256 bits of the operating system's randomness, 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def key_of(id: object) -> bytes | None:
    """Return the key a session id is stored under, its SHA-256, or ``None`` if it cannot be a session id."""
    if not isinstance(id, str) or not _ID_SYNTAX.fullmatch(id):
        return None
    return hashlib.sha256(id.encode()).digest()


def handle_of(key: bytes) -> str:
    """Return what a session is called where its id must not be seen: the first 64 bits of its key, in hex."""
    return key[:_HANDLE_BYTES].hex()
