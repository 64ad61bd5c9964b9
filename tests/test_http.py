"""Sessions under real HTTP: waitress in other processes, a client that keeps cookies."""

import contextlib
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import servers


@contextlib.contextmanager
def serving(target):
    """Serve the application in a process of its own; give its URL and the process."""
    port = servers.free_port()
    script = [sys.executable, str(Path(__file__).with_name("web_app.py")), str(port), target]
    with servers.running(script, port) as process:
        yield f"http://127.0.0.1:{port}", process


@pytest.fixture
def file_target(tmp_path):
    return f"file:path={tmp_path}/store.fs"


@pytest.fixture
def browser():
    with httpx.Client() as browser:
        yield browser


def test_a_session_survives_a_killed_server(file_target, browser):
    with serving(file_target) as (url, process):
        for number in (1, 2, 3):
            assert browser.get(f"{url}/count").text.startswith(f"{number} ")
        process.send_signal(signal.SIGKILL)
        process.wait()
    with serving(file_target) as (url, _):
        assert browser.get(f"{url}/count").text.startswith("4 ")


def test_the_cookie_and_the_caches(file_target, browser):
    with serving(file_target) as (url, _):
        untouched = browser.get(f"{url}/static")
        assert not {"set-cookie", "vary", "cache-control"} & set(untouched.headers)
        first = browser.get(f"{url}/count")
        assert first.headers["set-cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax")
        assert (first.headers["vary"], first.headers["cache-control"]) == ("Cookie", "no-store")
        reading = browser.get(f"{url}/")
        assert reading.headers["vary"] == "Cookie"
        assert "set-cookie" not in reading.headers


def test_login_moves_the_session_and_logout_ends_it(file_target, browser):
    with serving(file_target) as (url, _):
        browser.get(f"{url}/count")
        planted = browser.cookies["session"]
        assert browser.get(f"{url}/login?alice").text == "1 alice ['n']"
        assert browser.cookies["session"] != planted
        assert httpx.get(f"{url}/", cookies={"session": planted}).text == "None None []"
        mine = browser.cookies["session"]
        browser.get(f"{url}/logout")
        assert "session" not in browser.cookies
        assert httpx.get(f"{url}/", cookies={"session": mine}).text == "None None []"


@pytest.mark.parametrize("id", ["A" * 43, "../../../etc/passwd", "x" * 5000, "'; DROP TABLE object_state; --"])
def test_a_planted_id_is_not_adopted(file_target, id):
    with serving(file_target) as (url, _):
        answer = httpx.get(f"{url}/count", headers={"Cookie": f"session={id}"})

        assert answer.text.startswith("1 ")
        assert answer.cookies["session"] != id


def test_an_application_that_raises_saves_nothing(file_target, browser):
    with serving(file_target) as (url, _):
        browser.get(f"{url}/count")
        assert browser.get(f"{url}/fail").status_code == 500
        assert browser.get(f"{url}/").text.startswith("1 ")


def test_a_streamed_response_carries_its_session(file_target, browser):
    with serving(file_target) as (url, _):
        assert browser.get(f"{url}/stream").text == "0 1 2 "
        assert "streamed" in browser.get(f"{url}/").text


def test_a_request_that_outlives_its_session_is_told_and_does_not_bring_it_back(file_target, browser):
    with serving(file_target) as (url, _), ThreadPoolExecutor(1) as pool:
        browser.get(f"{url}/count")
        cookies = dict(browser.cookies)
        slow = pool.submit(httpx.get, f"{url}/slow", cookies=cookies, timeout=30)
        browser.get(f"{url}/logout")
        httpx.get(f"{url}/open-gate")

        assert slow.result().status_code in (200, 400)
        assert httpx.get(f"{url}/", cookies=cookies).text == "None None []"


def test_requests_at_the_same_time_lose_nothing(file_target, browser):
    with serving(file_target) as (url, _), ThreadPoolExecutor(8) as pool:
        browser.get(f"{url}/count")
        cookies = dict(browser.cookies)
        answers = list(pool.map(lambda n: httpx.get(f"{url}{'/stream' if n % 2 else '/'}", cookies=cookies), range(40)))

        assert {answer.status_code for answer in answers} == {200}
        assert browser.get(f"{url}/").text == "1 None ['n', 'streamed']"


@pytest.mark.parametrize("kind", ["PostgreSQL", "ZEO"])
def test_two_processes_share_the_sessions_of_one_server(kind, tmp_path, browser):
    new_server = servers.new_postgresql() if kind == "PostgreSQL" else servers.new_zeo()
    with new_server as target, serving(target) as (one, _), serving(target) as (two, other):
        for number in range(1, 9):
            assert browser.get(f"{(one, two)[number % 2]}/count").text.startswith(f"{number} ")
        browser.get(f"{one}/login?alice")
        assert "alice" in browser.get(f"{two}/").text
        cookies = dict(browser.cookies)
        browser.get(f"{two}/logout")
        assert httpx.get(f"{one}/", cookies=cookies).text == "None None []"
        browser.get(f"{one}/count")
        os.kill(other.pid, signal.SIGKILL)
        assert browser.get(f"{one}/count").text.startswith("2 ")
