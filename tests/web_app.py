"""A WSGI application for the HTTP tests, served in a process of its own: web_app.py PORT TARGET."""

import sys
import threading
import time

import waitress

import kiokupy
from kiokupy.web.cookies import Cookie
from kiokupy.web.wsgi import SessionMiddleware

gate = threading.Event()


def app(environ, start_response):
    session, path = environ["kiokupy.session"], environ["PATH_INFO"]
    if path == "/count":
        session["n"] = session.get("n", 0) + 1
    elif path == "/login":
        session.principal = environ["QUERY_STRING"]
        session.regenerate()
    elif path == "/logout":
        session.invalidate()
    elif path == "/slow":
        session["slow"] = True
        gate.wait(30)
    elif path == "/open-gate":
        gate.set()
    elif path == "/fail":
        session["n"] = -1
        raise RuntimeError("as asked")
    elif path == "/stream":
        session["streamed"] = True
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (f"{number} ".encode() for number in range(3))
    body = b"" if path == "/static" else f"{session.get('n')} {session.principal} {sorted(session)}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def main(port, target):
    directory = connect_soon(target)
    middleware = SessionMiddleware(app, kiokupy.SessionManager(directory), Cookie(secure=False))
    waitress.serve(middleware, host="127.0.0.1", port=int(port), threads=8, _quiet=True)


def connect_soon(target):
    """Open the store of a process that was killed: its lock may outlive it for a moment."""
    for _ in range(100):
        try:
            return kiokupy.connect(target)
        except kiokupy.StoreLocked:
            time.sleep(0.05)
    return kiokupy.connect(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
