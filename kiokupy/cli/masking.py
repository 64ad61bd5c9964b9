"""Masking: values that look like secrets are not shown to whoever looks over the shoulder."""

from __future__ import annotations

import base64
import re
from itertools import pairwise
from typing import Any

MASK = "***"

_ANYWHERE = ("password", "passwd", "passphrase", "secret", "token", "credential")
_WORDS = {
    "pwd", "passcode", "authorization", "auth", "bearer", "jwt", "cookie", "csrf", "xsrf", "otp", "pin", "cvv", "cvc",
    "sid", "ssn",
}  # fmt: skip
_PAIRS = {
    ("api", "key"),
    ("private", "key"),
    ("access", "key"),
    ("signing", "key"),
    ("encryption", "key"),
    ("credit", "card"),
    ("card", "number"),
    ("session", "id"),
}
_SINGLE = _WORDS | {first + second for first, second in _PAIRS}
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def is_secret(key: str) -> bool:
    """Tell whether a key names a secret: ``api_key`` and ``userPassword`` do, ``monkey`` does not."""
    words = [_singular(word.lower()) for word in _PARTS.findall(key)]
    return (
        any(part in key.lower() for part in _ANYWHERE)
        or not _SINGLE.isdisjoint(words)
        or any(pair in _PAIRS for pair in pairwise(words))
    )


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def masked(value: Any) -> Any:
    """Return rendered data (see :mod:`kiokupy.inspection`) without its secrets."""
    if isinstance(value, list):
        if len(value) == 2 and is_secret(_text(value[0])):  # noqa: PLR2004  # a key and its value
            return [value[0], MASK]
        return [masked(item) for item in value]
    if isinstance(value, dict):
        return {key: MASK if is_secret(key) else masked(item) for key, item in value.items()}
    return value


def _text(key: Any) -> str:
    if isinstance(key, dict) and "$bytes" in key:
        return base64.b64decode(key["$bytes"]).decode(errors="replace")
    return key if isinstance(key, str) else ""
