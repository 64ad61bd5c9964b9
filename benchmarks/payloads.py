"""Payloads: what a session holds; about 1 KB, as most do, or 20 KB."""

from __future__ import annotations

import pickle
from typing import Any

#: Bytes, nominally, and how many lines the cart has then.
LINES = {1_000: 10, 20_000: 255}


def payload(size: int) -> dict[str, Any]:
    """Return a visitor's data: a user, a cart, a token, times. All of it can be written as JSON, for Django's sake.

    :param size: one of :data:`LINES`.
    """
    return {
        "user": {"id": 4711, "name": "Ada Lovelace", "roles": ["customer", "editor"]},
        "cart": [
            {"sku": f"sku-{n:04}", "name": f"Product number {n}", "quantity": n, "price": n * 1.5}
            for n in range(LINES[size])
        ],
        "csrf": "x" * 43,
        "seen": [1.8e9 + n for n in range(5)],
    }


def pickled_bytes(size: int) -> int:
    """Return how many bytes the payload's pickle has, without any store around it."""
    return len(pickle.dumps(payload(size), pickle.HIGHEST_PROTOCOL))
