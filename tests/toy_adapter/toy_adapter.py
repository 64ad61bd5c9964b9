"""A web adapter for kiokupy from another hand, in a page: WSGI, each answer in one piece."""

from kiokupy import SessionGone
from kiokupy.web.headers import with_session


class Toy:
    """Gives each request its session, at ``environ["toy.session"]``."""

    def __init__(self, app, manager, cookie):
        self.app, self.manager, self.cookie = app, manager, cookie

    def __call__(self, environ, start_response):
        session = environ["toy.session"] = self.open(environ)
        said = []
        body = b"".join(self.app(environ, lambda status, headers: said.append((status, headers))))
        ((status, headers),) = said
        try:
            headers = self.headers(headers, session, self.end(session, status))
        except SessionGone:
            status, headers = "400 Bad Request", [("Vary", "Cookie"), ("Cache-Control", "no-store")]
            body = b"" if environ["REQUEST_METHOD"] == "HEAD" else b"Your session has ended."
        return self.send(environ, start_response, status, headers, body)

    def open(self, environ):
        return self.manager.open(self.cookie.read(environ.get("HTTP_COOKIE")), lazy=True)

    def end(self, session, status):
        return (self.manager.abandon if status.startswith("5") else self.manager.conclude)(session)

    def headers(self, headers, session, action):
        return with_session(headers, session, action, self.cookie)

    def send(self, environ, start_response, status, headers, body):
        start_response(status, headers)
        return [body]
