"""Serve the shop: ``python -m examples.shop``. PORT and KIOKUPY_DEMO_STORE set the port and the store."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from functools import partial
from pathlib import Path

import waitress

import kiokupy
from examples.shop.app import shop
from examples.shop.models import Cart, Line, Product
from kiokupy.web.cookies import Cookie
from kiokupy.web.wsgi import SessionMiddleware

_LARGEST_PORT = 65535


def main() -> int:
    port = os.environ.get("PORT", "8080")
    store = Path(os.environ.get("KIOKUPY_DEMO_STORE", "var/shop.fs"))
    # SIGINT too: a shell makes the commands that it runs in the background ignore it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        if not port.isdecimal() or int(port) > _LARGEST_PORT:
            raise OSError(f"PORT is a number up to {_LARGEST_PORT}")
        store.parent.mkdir(parents=True, exist_ok=True)
        with kiokupy.connect("File", path=store, allow_classes=[Cart, Line, Product]) as directory:
            manager = kiokupy.SessionManager(directory)
            manager.start_sweeper()
            # Plain HTTP on this machine only: a browser would not send a Secure cookie back.
            app = SessionMiddleware(partial(shop, manager), manager, Cookie(secure=False))
            serve(app, int(port), store)
    except (kiokupy.KiokuError, OSError) as error:
        print(f"The shop cannot open: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    print("\nThe shop is closed.")
    return 0


def serve(app: SessionMiddleware, port: int, store: Path) -> None:
    try:
        server = waitress.create_server(app, host="127.0.0.1", port=port)
    except OSError as error:
        raise OSError(f"port {port}: {error.strerror}. Choose another: PORT={port + 1} scripts/demo") from error
    dump = Path(sys.executable).with_name("kiokupy-dump")
    dump = dump.relative_to(Path.cwd()) if dump.is_relative_to(Path.cwd()) else dump
    print(f"The shop is open: http://127.0.0.1:{server.effective_port}/   (Ctrl-C closes it)")
    print(f"Its sessions, from another terminal: {shlex.join([str(dump), str(store)])}", flush=True)
    try:
        server.run()
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
