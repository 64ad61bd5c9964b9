"""Serve the shop: ``python -m examples.shop``. PORT and KIOKUPY_DEMO_STORE set the port and the store."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from pathlib import Path

import waitress

import kiokupy
from examples.shop.app import shop
from examples.shop.models import Cart, Line, Product
from kiokupy.web.cookies import Cookie
from kiokupy.web.wsgi import SessionMiddleware


def main() -> int:
    try:
        port = int(os.environ.get("PORT", "8080"))
    except ValueError:
        print("The shop cannot open: PORT is a number", file=sys.stderr)
        return 1
    store = Path(os.environ.get("KIOKUPY_DEMO_STORE", "var/shop.fs"))
    store.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with kiokupy.connect("File", path=store, allow_classes=[Cart, Line, Product]) as directory:
            # Plain HTTP on this machine only: a browser would not send a Secure cookie back.
            app = SessionMiddleware(shop, kiokupy.SessionManager(directory), Cookie(secure=False))
            serve(app, port, store)
    except (kiokupy.KiokuError, OSError) as error:
        print(f"The shop cannot open: {error}", file=sys.stderr)
        return 1
    return 0


def serve(app: SessionMiddleware, port: int, store: Path) -> None:
    server = waitress.create_server(app, host="127.0.0.1", port=port)
    dump = Path(sys.executable).with_name("kiokupy-dump")
    dump = dump.relative_to(Path.cwd()) if dump.is_relative_to(Path.cwd()) else dump
    print(f"The shop is open: http://127.0.0.1:{server.effective_port}/   (Ctrl-C closes it)")
    print(f"Its sessions, from another terminal: {shlex.join([str(dump), str(store)])}", flush=True)
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
        print("\nThe shop is closed.")


if __name__ == "__main__":
    sys.exit(main())
