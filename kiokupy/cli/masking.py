"""Masking: values that look like secrets are not shown to whoever looks over the shoulder."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

MASK = "***"

_ANYWHERE = ("password", "passwd", "passphrase", "secret", "token", "credential")
_WORDS = {"pwd", "authorization", "auth", "cookie", "cookies", "csrf", "otp", "pin", "cvv", "cvc", "apikey", "ssn"}
_PAIRS = {
    ("api", "key"),
    ("private", "key"),
    ("access", "key"),
    ("credit", "card"),
    ("card", "number"),
    ("session", "id"),
}
_PARTS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def is_secret(key: str) -> bool:
    """Tell whether a key names a secret: ``api_key`` and ``userPassword`` do, ``monkey`` does not."""
    words = [word.lower() for word in _PARTS.findall(key)]
    return (
        any(part in key.lower() for part in _ANYWHERE)
        or not _WORDS.isdisjoint(words)
        or any(pair in _PAIRS for pair in pairwise(words))
    )


def masked(value: Any) -> Any:
    """Return rendered data (see :mod:`kiokupy.inspection`) without its secrets."""
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and is_secret(value[0]):  # noqa: PLR2004  # a key and its value
            return [value[0], MASK]
        return [masked(item) for item in value]
    if isinstance(value, dict):
        return {key: MASK if is_secret(key) else masked(item) for key, item in value.items()}
    return value
