"""ZEO: a store behind a running ZEO server, shared by processes and hosts."""

from __future__ import annotations

import os
from typing import Any

from ZEO.ClientStorage import ClientStorage
from ZEO.Exceptions import ClientDisconnected

from kiokupy.errors import StoreUnreachable, TargetError

_PORT = 8100


class ZEO:
    """Opens one storage of a ZEO server.

    :param host: the server's host; or ``path``, the server's UNIX socket.
    :param port: the server's port, 8100 by default.
    :param storage: the storage's name on the server, ``"1"`` by default.
    :param wait_timeout: seconds to wait for the server.
    :param cache_size: bytes of the client's cache.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | str = _PORT,
        *,
        path: str | os.PathLike[str] | None = None,
        storage: str = "1",
        wait_timeout: float | str = 10,
        cache_size: int | str = 20 << 20,
    ) -> None:
        self._options = {
            "storage": storage,
            "wait_timeout": _number("wait_timeout", wait_timeout),
            "cache_size": int(_number("cache_size", cache_size)),
        }
        self._address = os.fspath(path) if path else (host, int(_number("port", port)))
        place = path or f"{f'[{host}]' if ':' in host else host}:{port}"
        self.location = f"zeo://{place}/{storage}"

    def open(self, *, create: bool, readonly: bool) -> Any:
        """Return a client storage; whether the store is there is the server's matter, so ``create`` says nothing."""
        try:
            # server_sync: a request that follows another sees what that one wrote, whichever process answers it.
            return ClientStorage(self._address, read_only=readonly, server_sync=True, wait=True, **self._options)
        except ClientDisconnected as error:
            raise StoreUnreachable(
                self.location, "no ZEO server answers", fix="Start it: runzeo -a host:port -f app.fs"
            ) from error


def _number(name: str, value: float | str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise TargetError(f"the option {name} is {value!r}", target=name, fix="It is a number") from error
