"""The applications in docs/flask.rst and docs/moving.rst, written to disk, started and talked to."""

import contextlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import flask
import httpx
import pytest
import servers

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"\.\. code-block:: python\n +:name: (\S+)\n\n((?: {4}.*\n|\n)+)")


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write a document's applications to disk; return the folder, and work in that of the one named."""

    def written(document, name):
        blocks = dict(BLOCK.findall((DOCS / document).read_text()))
        (tmp_path / "app.py").write_text(dedent(blocks[f"{name}/app.py"]))
        monkeypatch.chdir(tmp_path)

    return written


@contextlib.contextmanager
def serving():
    """Serve as the document says: ``flask --debug run``."""
    port = servers.free_port()
    command = [sys.executable, "-m", "flask", "--debug", "run", "--port", str(port)]
    with (
        servers.running(command, port, subprocess.DEVNULL) as reloader,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as browser,
    ):
        try:
            yield browser
        finally:
            reloader.terminate()  # its child ends with it
            reloader.wait(30)


def command(*words):
    """Run ``flask kiokupy ...``."""
    run = [sys.executable, "-m", "flask", "kiokupy", *words]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout


def test_the_commands_that_the_tests_run_are_those_of_the_page():
    page = (DOCS / "flask.rst").read_text()

    for words in ("flask --debug run", "flask kiokupy list --principal ada", "flask kiokupy revoke ada"):
        assert f"$ {words}\n" in page


def test_visits_are_counted_from_an_almost_empty_file(written):
    written("flask.rst", "visits")
    with serving() as browser:
        assert [browser.get("/").text for _ in range(2)] == ["visit 1\n", "visit 2\n"]
        cookie = {"Cookie": f"session={browser.cookies['session']}"}
    with serving() as browser:
        assert browser.get("/", headers=cookie).text == "visit 3\n"


def test_a_user_logs_in_and_out_and_ends_other_sessions(written):
    written("flask.rst", "login")

    def send(browser, path, **form):
        token = re.search('name="csrf_token" value="(.+?)"', browser.get("/login").text)[1]
        return browser.post(path, data={"csrf_token": token, **form}, follow_redirects=True).text

    with serving() as browser, httpx.Client(base_url=browser.base_url) as other:
        assert browser.post("/login", data={"name": "ada"}).status_code == 400
        assert "That is not right" in send(browser, "/login", name="ada", password="difference")
        planted = browser.cookies["session"]
        for each in (browser, other):
            answer = send(each, "/login", name="ada", password="engine")
            assert ("Hello, ada" in answer, "Welcome back" in answer) == (True, True)
        assert browser.cookies["session"] != planted
        assert command("list", "--principal", "ada").count(" ada ") == 2
        assert "1 other sessions ended" in send(browser, "/logout-elsewhere")
        assert other.get("/").status_code == 302
        mine = browser.cookies["session"]
        assert "Hello" not in send(browser, "/logout")
        assert httpx.get(browser.base_url, headers={"Cookie": f"session={mine}"}).status_code == 302
        send(other, "/login", name="ada", password="engine")
        assert "1 sessions of ada ended" in command("revoke", "ada")
        assert other.get("/").status_code == 302
        assert " alive\n" in command("stats")
        assert command("sweep").endswith("removed\n")


def test_an_order_and_its_session_are_saved_together_or_not_at_all(written):
    written("flask.rst", "shop")
    with serving() as browser:
        assert browser.post("/order/tea").text == "order 1\n"
        assert browser.post("/order/moon").status_code == 500
        assert [browser.get(f"/order/{article}").text for article in ("tea", "moon")] == ["True 1\n", "False 1\n"]


def test_a_visitor_with_a_cookie_of_flasks_own_goes_on(written):
    written("moving.rst", "moving")
    spec = importlib.util.spec_from_file_location("moving_app", "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    before = flask.Flask("before")
    before.secret_key = module.app.secret_key
    old = before.test_client()
    with old.session_transaction() as session:
        session.permanent, session["cart"] = True, ["milk"]
    transport = httpx.WSGITransport(app=module.app)
    with httpx.Client(transport=transport, base_url="https://localhost") as browser:
        browser.cookies.set("session", old.get_cookie("session").value, domain="localhost.local")
        first = browser.get("/")

        assert first.text == "milk tea"
        assert "Max-Age=2678400" in first.headers["set-cookie"]
        assert list(browser.cookies) == ["__Host-session"]
        assert browser.get("/").text == "milk tea tea"
    module.app.extensions["kiokupy"].close()
