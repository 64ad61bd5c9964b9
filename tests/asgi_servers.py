"""ASGI applications for tests: served by uvicorn in a thread, or called as a server calls them."""

import contextlib
import threading

import anyio
import httpx
import uvicorn


@contextlib.contextmanager
def serving(app):
    """Serve an application; give the server's address as ``host:port``."""
    config = uvicorn.Config(app, port=0, log_config=None, ws="websockets-sansio", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield "{}:{}".format(*server.servers[0].sockets[0].getsockname())
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def browsing(app):
    """Serve an application; give a client that keeps cookies."""
    # uvicorn closes a connection after an exception without saying so: the next request on it may meet that.
    limits = httpx.Limits(max_keepalive_connections=0)
    with serving(app) as address, httpx.Client(base_url=f"http://{address}", timeout=10, limits=limits) as browser:
        yield browser


class Call:
    """One call of an application, whose client is gone when it has sent ``received``."""

    def __init__(self, app, *, received=(), on_send=None, **scope):
        self.app, self.on_send = app, on_send
        self.received = list(received)
        self.sent = []
        headers = [(name.encode(), value.encode("latin-1")) for name, value in scope.pop("headers", ())]
        self.scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": None, **scope}

    def run(self, backend="asyncio"):
        anyio.run(self, backend=backend)
        return self

    async def __call__(self):
        await self.app(self.scope, self.receive, self.send)

    async def receive(self):
        gone = "websocket.disconnect" if self.scope["type"] == "websocket" else "http.disconnect"
        return self.received.pop(0) if self.received else {"type": gone}

    async def send(self, message):
        if self.on_send is not None:
            self.on_send(message)
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    def header(self, name):
        return [value.decode("latin-1") for key, value in self.sent[0]["headers"] if key == name.encode()]
