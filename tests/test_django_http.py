"""Django with its users, forms and messages under real HTTP: waitress and uvicorn in processes of their own."""

import contextlib
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import servers

import kiokupy

SCRIPT = str(Path(__file__).with_name("django_site.py"))


class Browser(httpx.Client):
    """A browser that fills in Django's forms."""

    def post_form(self, path, **fields):
        page = self.get(path)
        [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        return self.post(path, data={"csrfmiddlewaretoken": token, **fields})

    def login(self, name, password="secret"):
        return self.post_form("/login", username=name, password=password)

    def get_apart(self, path):
        """Make a request that has the same cookies, and leaves them as they are."""
        return httpx.get(f"{self.base_url}{path}", cookies=dict(self.cookies), timeout=30)


class Site:
    def __init__(self, target, database):
        self.target, self.database = target, database

    @contextlib.contextmanager
    def serving(self, gateway, *flags):
        port = servers.free_port()
        command = [sys.executable, SCRIPT, gateway, str(port), self.target, str(self.database), *flags]
        with servers.running(command, port):
            self.url = f"http://127.0.0.1:{port}"
            yield self

    def browser(self):
        return Browser(base_url=self.url)

    def sessions(self, principal=None):
        with kiokupy.connect(self.target) as directory:
            return list(kiokupy.SessionManager(directory).sessions(principal))


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    """A database that Django's tables are in, and alice and bob."""
    database = tmp_path_factory.mktemp("django") / "users.sqlite"
    subprocess.run([sys.executable, SCRIPT, "prepare", "0", "Hash", str(database)], check=True)
    return database


@pytest.fixture(params=["wsgi", "asgi"])
def site(request, tmp_path, users):
    """The project, served."""
    database = shutil.copy(users, tmp_path)
    with Site(f"sqlite:///{tmp_path}/store.sqlite", database).serving(request.param) as site:
        yield site


@pytest.fixture
def browser(site):
    with site.browser() as browser:
        yield browser


def test_a_login_moves_the_session_and_keeps_its_data(site, browser):
    browser.get("/count")
    planted = browser.cookies["sessionid"]
    assert browser.login("alice").headers["location"] == "/"
    assert browser.cookies["sessionid"] != planted
    assert re.match(r"alice .*\bvisits\b", browser.get("/").text)
    assert browser.get("/count").text == "2"
    assert httpx.get(f"{site.url}/", cookies={"sessionid": planted}).text == "nobody"
    assert len(site.sessions("1")) == 1
    assert len(site.sessions()) == 1


def test_a_logout_ends_the_session(site, browser):
    browser.login("alice")
    mine = dict(browser.cookies)
    assert browser.post_form("/login", username="alice", password="wrong").status_code == 200
    token = re.findall(r'value="(\w+)"', browser.get("/login").text)[0]
    browser.post("/logout", data={"csrfmiddlewaretoken": token})

    assert "sessionid" not in browser.cookies
    assert httpx.get(f"{site.url}/", cookies=mine).text == "nobody"
    assert site.sessions() == []


def test_another_user_gets_nothing_of_the_one_before(site, browser):
    browser.login("alice")
    browser.get("/count")
    alices = dict(browser.cookies)
    browser.login("bob")

    assert browser.get("/count").text == "1"
    assert httpx.get(f"{site.url}/", cookies=alices).text == "nobody"
    assert (len(site.sessions("1")), len(site.sessions("2"))) == (0, 1)


def test_a_changed_password_ends_the_other_sessions_of_the_user(site, browser):
    new = {"new_password1": "Xq9-gh2!", "new_password2": "Xq9-gh2!"}
    with site.browser() as other:
        browser.login("alice")
        other.login("alice")
        before = dict(browser.cookies)
        assert browser.post_form("/password", old_password="secret", **new).status_code == 302

        assert browser.get("/").text.startswith("alice")
        assert other.get("/").text == "nobody"
    assert httpx.get(f"{site.url}/", cookies=before).text == "nobody"
    assert len(site.sessions("1")) == 1  # the other one's data went when it was found out


def test_messages_are_shown_once(browser):
    browser.get("/say")
    browser.get("/say")

    assert browser.get("/hear").text == "info:hello info:hello"
    assert browser.get("/hear").text == ""


def test_the_admin_site_lets_its_users_in(browser):
    answer = browser.post_form("/admin/login/?next=/admin/", username="alice", password="secret", next="/admin/")

    assert answer.headers["location"] == "/admin/"
    assert "Site administration" in browser.get("/admin/").text


def test_a_request_that_outlives_its_session_is_refused_and_does_not_bring_it_back(site, browser):
    browser.login("alice")
    cookies = dict(browser.cookies)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(browser.get_apart, "/slow")
        browser.get("/wait-for-slow")
        browser.get("/quick-logout")
        browser.get("/open-gate")
        answer = slow.result()

    assert answer.status_code == 400
    assert httpx.get(f"{site.url}/", cookies=cookies).text == "nobody"


def test_requests_at_the_same_time_lose_nothing(site, browser):
    browser.get("/count")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: browser.get_apart(f"/put?key{number}"), range(24)))

    assert {answer.status_code for answer in answers} == {200}
    assert browser.get("/").text.split() == ["nobody", *sorted(f"key{number}" for number in range(24)), "visits"]


def test_a_view_that_raises_saves_nothing(browser):
    browser.get("/count")
    assert browser.get("/fail").status_code == 500
    assert browser.get("/").text == "nobody visits"


def test_what_only_looks_stores_nothing_and_sets_no_cookie(site, browser):
    for path in ("/static", "/", "/peek"):
        answer = browser.get(path)
        assert "set-cookie" not in answer.headers
        assert answer.headers["vary"] == "Cookie"  # with CSRF_USE_SESSIONS Django looks into each session
    planted = {"sessionid": "A" * 43}
    answer = httpx.get(f"{site.url}/peek", cookies=planted)

    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert site.sessions() == []


def test_views_that_are_coroutines_log_in_and_out(site, browser):
    browser.get("/acount")
    planted = browser.cookies["sessionid"]
    assert browser.get("/alogin?name=alice").text == "True True"
    assert browser.cookies["sessionid"] != planted
    assert browser.get("/acount").text == "2"
    assert len(site.sessions("1")) == 1
    browser.get("/alogout")

    assert "sessionid" not in browser.cookies
    assert site.sessions() == []
