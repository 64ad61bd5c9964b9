"""Serves a WSGI application over real HTTP from threads of the test's own process."""

import contextlib
import threading

import waitress
from waitress import wasyncore


@contextlib.contextmanager
def served(app, *, threads=4):
    """Serve an application with waitress; give its URL."""
    channels = {}
    server = waitress.create_server(app, map=channels, host="127.0.0.1", port=0, threads=threads)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.task_dispatcher.shutdown()  # a thread that has just answered still writes to the trigger
        with contextlib.suppress(OSError):  # an earlier pull may have led to it: then the trigger is closed already
            server.trigger.pull_trigger(lambda: wasyncore.close_all(channels))  # the loop ends with nothing to watch
        thread.join()
