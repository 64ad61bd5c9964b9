"""The toy passes the suite; each of its versions with a fault fails it, which ``test_toy_adapter.py`` looks at."""

import contextlib
import http.cookies
import io
import logging
import socketserver
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from toy_adapter import Toy

from kiokupy import SessionGone
from kiokupy.sessions.manager import CookieAction
from kiokupy.testing import AdapterCapability, AdapterSuite
from kiokupy.web.headers import with_session


class ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    pass


class QuietHandler(WSGIRequestHandler):
    def log_message(self, *args):
        pass

    def get_stderr(self):
        return io.StringIO()


@contextlib.contextmanager
def served(app):
    with make_server("127.0.0.1", 0, app, ThreadingServer, QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class TestToy(AdapterSuite):
    capabilities = (AdapterCapability.LAZY, AdapterCapability.MERGING, AdapterCapability.PARTITIONED)
    toy = Toy

    @pytest.fixture
    def url(self, site, manager, cookie):
        def app(environ, start_response):
            answer = site.answer(environ["toy.session"], environ["PATH_INFO"], environ["QUERY_STRING"])
            start_response(answer.status_line, answer.headers)
            return [answer.body] if environ["REQUEST_METHOD"] == "GET" else []

        with served(self.toy(app, manager, cookie)) as url:
            yield url


class Adopting(Toy):
    """Takes the client's id for a new session."""

    found_by = ("test_a_strange_id_is_not_adopted",)

    def open(self, environ):
        session = super().open(environ)
        if session.client_id and session.is_new:
            session.held.rename(session.client_id) if len(session.client_id) == 43 else None
        return session


class Eager(Toy):
    """Stores a session for each visitor."""

    found_by = (
        "test_a_request_that_does_not_touch_its_session_stores_nothing_and_sets_no_cookie",
        "test_any_number_of_unknown_ids_stores_nothing",
    )

    def open(self, environ):
        session = super().open(environ)
        if session.is_new:
            session.flush()
        return session


class Asking(Toy):
    """Asks the store for each request's session."""

    found_by = ("test_a_request_that_does_not_touch_its_session_does_not_ask_the_store",)

    def open(self, environ):
        session = super().open(environ)
        session.open()
        return session


class WithoutVary(Toy):
    """Forgets to tell caches that an answer depends on the cookie."""

    found_by = ("test_an_answer_to_which_the_session_was_read_varies_by_cookie",)

    def headers(self, headers, session, action):
        return [(name, value.replace(", Cookie", "")) for name, value in super().headers(headers, session, action)
                if (name, value) != ("Vary", "Cookie")]  # fmt: skip


class WithoutNoStore(Toy):
    """Forgets to tell caches not to keep an answer with a cookie."""

    found_by = ("test_an_answer_that_sets_or_deletes_the_cookie_is_kept_by_no_cache",)

    def headers(self, headers, session, action):
        added = [pair for pair in super().headers([], session, action) if pair[0] == "Set-Cookie"]
        return [*with_session(headers, session, CookieAction.KEEP, self.cookie), *added]


class Overwriting(Toy):
    """Drops the cookies that the application sets itself."""

    found_by = ("test_what_the_application_says_of_its_answer_stays",)

    def headers(self, headers, session, action):
        return super().headers([pair for pair in headers if pair[0] != "Set-Cookie"], session, action)


class Late(Toy):
    """Saves after the headers have left: a cookie is sent for what may be stored in a while."""

    found_by = ("test_the_session_is_saved_before_the_headers_leave",)

    def end(self, session, status):
        if not session.accessed or status.startswith("5") or not self.manager.is_worth_saving(session):
            return self.manager.abandon(session)
        session.held.wanted = True
        return CookieAction.KEEP if session.id == session.client_id else CookieAction.SEND

    def send(self, environ, start_response, status, headers, body):
        start_response(status, [*headers, ("Content-Length", str(len(body)))])
        yield body
        session = environ["toy.session"]
        if session.accessed and not status.startswith("5"):
            with contextlib.suppress(SessionGone):
                self.manager.conclude(session)


class Undaunted(Toy):
    """Saves also what a failed request did."""

    found_by = ("test_an_answer_from_500_on_saves_nothing",)

    def end(self, session, status):
        return self.manager.conclude(session)


class Unraised(Toy):
    """Saves also what a request did before it raised."""

    found_by = ("test_a_request_that_raises_saves_nothing",)

    def __call__(self, environ, start_response):
        try:
            return super().__call__(environ, start_response)
        except Exception:
            self.manager.conclude(environ["toy.session"])
            raise


class Resurrecting(Toy):
    """Stores a session that was ended meanwhile once more."""

    found_by = ("test_a_request_whose_session_was_ended_is_answered_with_400_and_does_not_bring_it_back",)

    def end(self, session, status):
        try:
            return super().end(session, status)
        except SessionGone:
            data, principal = dict(session), session.principal
            session.invalidate()
            session.update(data)
            session.principal = principal
            return super().end(session, status)


class Hushing(Toy):
    """Does not tell a client that its changes are lost."""

    found_by = ("test_a_request_whose_session_was_ended_is_answered_with_400_and_does_not_bring_it_back",)

    def end(self, session, status):
        try:
            return super().end(session, status)
        except SessionGone:
            return CookieAction.KEEP


class Remembering(Toy):
    """Keeps sessions in the process, too."""

    found_by = (
        "test_a_session_that_is_not_used_ends_and_its_cookie_goes",
        "test_a_moved_session_has_its_data_under_a_new_id_and_the_old_one_is_dead",
    )

    def open(self, environ):
        self.__dict__.setdefault("known", {})
        id = self.cookie.read(environ.get("HTTP_COOKIE"))
        return self.known.get(id) or super().open(environ)

    def end(self, session, status):
        action = super().end(session, status)
        if session.accessed and not session.is_new and not session.destroyed:
            self.known[session.id] = session
        return action


class Shallow(Toy):
    """Sees only changes of the session's own keys."""

    found_by = ("test_a_change_inside_a_value_is_saved",)

    def open(self, environ):
        self.__dict__.setdefault("before", {})
        session = super().open(environ)
        if session.client_id is not None:
            self.before[id(session)] = {key: id(value) for key, value in session.items()}
        return session

    def end(self, session, status):
        before = self.before.pop(id(session), None)
        unchanged = before is not None and before == {key: id(value) for key, value in session.items()}
        if unchanged and session.principal is None and not session.destroyed:
            return self.manager.abandon(session)
        return super().end(session, status)


class Staying(Toy):
    """Keeps the cookie of a session that has ended."""

    found_by = (
        "test_the_cookie_of_a_strange_id_is_deleted_and_nothing_is_stored",
        "test_a_logout_takes_the_session_out_of_the_store_and_deletes_the_cookie",
    )

    def headers(self, headers, session, action):
        return super().headers(headers, session, CookieAction.KEEP if action is CookieAction.DELETE else action)


class Strict(Toy):
    """Reads cookies with the standard library, which gives up on all of them if one is malformed."""

    found_by = ("test_the_session_is_found_among_other_cookies",)

    def open(self, environ):
        try:
            found = http.cookies.SimpleCookie(environ.get("HTTP_COOKIE"))
        except http.cookies.CookieError:
            found = {}
        morsel = found.get(self.cookie.name)
        return self.manager.open(morsel and morsel.value, lazy=True)


class Homemade(Toy):
    """Writes a cookie of its own, without the attributes that were asked for."""

    found_by = ("test_the_cookie_has_the_attributes_that_were_asked_for",)

    def headers(self, headers, session, action):
        found = super().headers(headers, session, action)
        own = f"{self.cookie.name}="
        return [(name, value.split(";")[0] + "; Path=/" if value.startswith(own) and "Max-Age=0" not in value else value)
                for name, value in found]  # fmt: skip


class Talkative(Toy):
    """Writes ids into the log."""

    found_by = ("test_no_id_is_in_the_log",)

    def end(self, session, status):
        action = super().end(session, status)
        logging.getLogger("toy").debug("the session %s has ended", session.client_id)
        return action


class Wordy(Toy):
    """Answers with a body where there must be none."""

    found_by = (
        "test_head_does_what_get_does_and_has_no_body",
        "test_the_answer_to_head_about_an_ended_session_has_no_body",
    )

    def __call__(self, environ, start_response):
        return [b"".join(super().__call__(environ, start_response)) or b"hello"]


class Leaking(Toy):
    """Leaves a connection to the store open."""

    found_by = ("test_reading_stores_nothing_and_sets_no_cookie",)

    def open(self, environ):
        environ["toy.unit"] = self.manager.directory.new_unit()
        self.__dict__.setdefault("units", []).append(environ["toy.unit"])
        return super().open(environ)


class Unmoving(Toy):
    """Does not send the new id of a session that was moved."""

    found_by = ("test_a_login_moves_the_session_and_the_old_id_is_dead",)

    def end(self, session, status):
        action = super().end(session, status)
        return CookieAction.KEEP if session.client_id is not None and action is CookieAction.SEND else action


for fault in Toy.__subclasses__():
    # The others may find it as well, but they take their time.
    others = [name for name in dir(TestToy) if name.startswith("test_") and name not in fault.found_by]
    globals()[f"Test{fault.__name__}"] = type(
        f"Test{fault.__name__}", (TestToy,), {"toy": fault, **dict.fromkeys(others)}
    )
