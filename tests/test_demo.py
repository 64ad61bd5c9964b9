"""The demo shop, used as a visitor uses it, over HTTP."""

import contextlib
import json
import re
import signal
import subprocess
import sys

import httpx
import pytest
import servers

SHOP = [sys.executable, "-m", "examples.shop"]


@contextlib.contextmanager
def shop(store):
    port = servers.free_port()
    with servers.running(SHOP, port, PORT=str(port), KIOKUPY_DEMO_STORE=str(store)) as process:
        yield f"http://127.0.0.1:{port}", process


class Visitor:
    def __init__(self, url):
        self.client, self.url, self.page = httpx.Client(follow_redirects=True), url, ""

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.client.close()

    def visit(self):
        self.page = self.client.get(f"{self.url}/").text
        return int(re.search(r'id="visits">(\d+)<', self.page)[1])

    def post(self, action, **fields):
        csrf = re.search(r'name="csrf" value="([^"]+)"', self.page)[1]
        answer = self.client.post(f"{self.url}{action}", data={"csrf": csrf, **fields})
        self.page = answer.text
        return answer


@pytest.fixture
def store(tmp_path):
    return tmp_path / "var" / "shop.fs"


def test_visits_and_cart_survive_a_kill_and_login_moves_the_session(store):
    with shop(store) as (url, process), Visitor(url) as visitor:
        assert [visitor.visit(), visitor.visit()] == [1, 2]
        visitor.post("/add", sku="lamp")
        visitor.post("/add", sku="lamp")
        visitor.post("/add", sku="pencil")
        planted = visitor.client.cookies["session"]
        visitor.post("/login", name="<b>Ada</b>")
        assert "&lt;b&gt;Ada&lt;/b&gt;" in visitor.page
        assert visitor.client.cookies["session"] != planted
        assert "Ada" not in httpx.get(f"{url}/", cookies={"session": planted}).text
        process.send_signal(signal.SIGKILL)
        process.wait()
        cookies = dict(visitor.client.cookies)
    with shop(store) as (url, _), Visitor(url) as visitor:
        visitor.client.cookies.set("session", cookies["session"], domain="127.0.0.1")
        assert visitor.visit() == 7
        assert "79.20 €" in visitor.page
        assert "Ada" in visitor.page
        visitor.post("/remove", sku="lamp")
        assert "79.20 €" not in visitor.page
        visitor.post("/logout")
        assert "You are not signed in" in visitor.page
        assert visitor.visit() == 2


def test_a_form_from_elsewhere_is_refused(store):
    with shop(store) as (url, _), Visitor(url) as visitor:
        visitor.visit()
        assert visitor.client.post(f"{url}/add", data={"sku": "lamp", "csrf": "x"}).status_code == 403
        assert httpx.post(f"{url}/login", data={"name": "x"}).status_code == 403
        assert visitor.client.get(f"{url}/nothing").status_code == 404
        assert "max-width" in visitor.client.get(f"{url}/style.css").text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_how_to_look_inside_and_closes_cleanly(store, number):
    with shop(store) as (url, process), Visitor(url) as visitor:
        visitor.visit()
        process.send_signal(number)
        out, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert url in out
    assert out.endswith("The shop is closed.\n")
    assert "Traceback" not in out
    command = re.search(r"another terminal: \S+ (\S+)", out)[1]
    dumped = subprocess.run([sys.executable, "-m", "kiokupy.cli.dump", command], stdout=subprocess.PIPE, check=True)
    assert json.loads(dumped.stdout)["content"]["visits"] == 1


def test_a_port_or_a_store_that_is_taken_is_one_clear_line(store, tmp_path):
    with shop(store) as (url, _):
        for port, place in ((url.rpartition(":")[2], tmp_path / "other.fs"), (str(servers.free_port()), store)):
            environment = {"PORT": port, "KIOKUPY_DEMO_STORE": str(place), "PATH": ""}
            done = subprocess.run(SHOP, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 1
            assert done.stderr.startswith("The shop cannot open: ")
            assert done.stderr.count("\n") == 1
