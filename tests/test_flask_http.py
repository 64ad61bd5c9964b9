"""Flask under real servers, with Flask-Login; a client that keeps cookies."""

import contextlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import servers


@contextlib.contextmanager
def serving(target):
    """Serve the application of flask_app.py in a process of its own; give a client that knows its address."""
    port = servers.free_port()
    script = [sys.executable, str(Path(__file__).with_name("flask_app.py")), str(port), target]
    with servers.running(script, port), httpx.Client(base_url=f"http://127.0.0.1:{port}") as browser:
        yield browser


@pytest.fixture
def browser(tmp_path):
    with serving(f"file:path={tmp_path}/store.fs") as browser:
        yield browser


def another(browser):
    """Return a function that gets a page with the browser's cookies as they are now."""
    cookies = dict(browser.cookies)
    return lambda path: httpx.get(browser.base_url.join(path), cookies=cookies, timeout=30)


def test_a_session_goes_from_request_to_request_and_outlives_the_server(tmp_path):
    target = f"sqlite:///{tmp_path}/store.sqlite"
    with serving(target) as browser:
        assert [browser.get("/count").text for _ in range(3)] == ["1", "2", "3"]
        cookies = dict(browser.cookies)
    with serving(target) as browser:
        assert browser.get("/count", headers={"Cookie": f"session={cookies['session']}"}).text == "4"


def test_an_untouched_session_leaves_no_trace(browser):
    assert not {"set-cookie", "vary", "cache-control"} & set(browser.get("/static-page").headers)


def test_login_moves_the_session_and_names_its_principal(browser):
    browser.get("/count")
    planted = another(browser)
    before = browser.cookies["session"]

    assert browser.get("/login?name=ada", follow_redirects=True).text == "1 ada ada"
    assert browser.cookies["session"] != before
    assert planted("/").text == "None None None"


def test_who_is_known_by_a_remember_cookie_has_not_just_logged_in(browser):
    browser.get("/login?name=ada&remember=1")
    assert browser.get("/fresh").text == "ada True"
    browser.cookies.delete("session")

    assert browser.get("/fresh").text == "ada False"


def test_logout_ends_the_session(browser):
    browser.get("/login?name=ada")
    mine = another(browser)
    browser.get("/logout")

    assert "session" not in browser.cookies
    assert mine("/").text == "None None None"


def test_requests_at_the_same_time_lose_nothing(browser):
    browser.get("/count")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: another(browser)("/stream" if n % 2 else "/"), range(40)))

    assert {answer.status_code for answer in answers} == {200}
    assert {answer.text for answer in answers} == {"1.0 1.1 1.2 ", "1 None None"}
    assert browser.get("/streamed").text == "True"


def test_an_asynchronous_view_has_its_session(browser):
    assert [browser.get("/async").text for _ in range(3)] == ["1", "2", "3"]


def test_a_view_that_raises_saves_nothing(browser):
    browser.get("/count")

    assert browser.get("/fail").status_code == 500
    assert browser.get("/count").text == "2"


def test_a_request_that_outlives_its_session_is_told_and_does_not_bring_it_back(browser):
    browser.get("/login?name=ada")
    slow, late = another(browser), another(browser)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(slow, "/slow")
        browser.get("/logout")
        late("/open-gate")

        assert answer.result().status_code in (200, 400)
    assert late("/").text == "None None None"


APP = """
from flask import Flask, session
from kiokupy.web.flask import KiokuSessions

app = Flask(__name__)
app.config["SESSION_KIOKUPY"] = "file:path=store.fs"
KiokuSessions(app)

@app.get("/")
def count():
    session["n"] = session.get("n", 0) + 1
    return str(session["n"])
"""


def test_the_debug_server_and_its_reloader_share_one_file(tmp_path, monkeypatch):
    (tmp_path / "app.py").write_text(APP)
    port = servers.free_port()
    monkeypatch.chdir(tmp_path)
    command = [sys.executable, "-m", "flask", "--debug", "run", "--port", str(port)]
    with (
        servers.running(command, port, subprocess.DEVNULL) as reloader,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as browser,
    ):
        try:
            assert [browser.get("/").text for _ in range(2)] == ["1", "2"]
        finally:
            reloader.terminate()  # its child ends with it
            reloader.wait(30)
