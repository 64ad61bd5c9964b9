"""The demo shop, used as a visitor uses it, over HTTP."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys

import httpx
import pytest
import servers

SHOP = [sys.executable, "-m", "examples.shop"]
#: As a shell without job control runs a command in the background: what is ignored stays ignored over exec.
SHOP_IN_THE_BACKGROUND = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *SHOP]


@contextlib.contextmanager
def shop(store, command=SHOP):
    port = servers.free_port()
    with servers.running(command, port, PORT=str(port), KIOKUPY_DEMO_STORE=str(store)) as process:
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

    @property
    def csrf(self):
        return re.search(r'name="csrf" value="([^"]+)"', self.page)[1]

    def post(self, action, **fields):
        answer = self.client.post(f"{self.url}{action}", data={"csrf": self.csrf, **fields})
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
        for guess in ({}, {"csrf": ""}, {"csrf": "-"}):
            assert httpx.post(f"{url}/login", data={"name": "x", **guess}).status_code == 403
        assert visitor.client.get(f"{url}/nothing").status_code == 404
        assert "max-width" in visitor.client.get(f"{url}/style.css").text


def test_a_form_from_before_the_login_is_refused_after_it(store):
    with shop(store) as (url, _), Visitor(url) as visitor:
        visitor.visit()
        planted = visitor.csrf
        visitor.post("/login", name="Ada")
        assert visitor.post("/add", sku="lamp", csrf=planted).status_code == 403


def test_who_is_signed_in_elsewhere_can_be_signed_out_there(store):
    with shop(store) as (url, _), Visitor(url) as here, Visitor(url) as there:
        for visitor in (here, there):
            visitor.visit()
            visitor.post("/login", name="Ada")
        assert "Sign out elsewhere (1)" in there.page
        there.post("/end-others")
        assert "Sign out elsewhere" not in there.page
        assert here.visit() == 1
        assert "You are not signed in" in here.page


def test_an_interrupt_closes_it_also_in_the_background_of_a_shell(store):
    with shop(store, SHOP_IN_THE_BACKGROUND) as (_, process):
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert out.endswith("The shop is closed.\n")


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


def refusal(port, place):
    environment = {"PORT": port, "KIOKUPY_DEMO_STORE": str(place), "PATH": ""}
    done = subprocess.run(SHOP, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("The shop cannot open: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_port_or_a_store_that_is_taken_is_one_clear_line(store, tmp_path):
    with shop(store) as (url, process):
        port = url.rpartition(":")[2]

        assert f"PORT={int(port) + 1} scripts/demo" in refusal(port, tmp_path / "other.fs")
        assert f"process {process.pid} holds this store" in refusal(str(servers.free_port()), store)


@pytest.mark.parametrize("port", ["http", "-1", "65536", ""])
def test_a_port_that_is_none_is_one_clear_line(port, store):
    assert "PORT is a number up to 65535" in refusal(port, store)


def test_a_place_where_no_store_can_be_is_one_clear_line(tmp_path):
    (tmp_path / "taken").write_text("a file, where a folder is wanted")

    assert str(tmp_path / "taken") in refusal("0", tmp_path / "taken" / "shop.fs")


def test_a_python_that_was_named_and_is_none_is_one_clear_line():
    environment = {**os.environ, "PYTHON": "/no/python"}
    done = subprocess.run(["scripts/setup", "demo"], env=environment, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "PYTHON=/no/python is no Python 3.11 or newer. Unset it, or name another one\n"
