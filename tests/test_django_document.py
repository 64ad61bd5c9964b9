"""The page on Django: who does what it says ends with a user who is logged in."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import servers

PAGE = (Path(__file__).parent.parent / "docs" / "django.rst").read_text()


def code():
    [block] = re.findall(r"^\.\. code-block:: python\n\n((?:    .*\n|\n)+)", PAGE, re.MULTILINE)
    return textwrap.dedent(block)


def commands():
    return re.findall(r"^    \$ (.*python mysite\.py .*)$", PAGE, re.MULTILINE)


def test_the_page_leads_from_an_empty_file_to_a_user_who_is_logged_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mysite.py").write_text(code())
    *preparations, server = commands()
    assert len(preparations) == 3
    for command in preparations:
        run(command)
    port = servers.free_port()
    command = [sys.executable, *server.replace("8000", f"{port} --noreload").split()[1:]]
    with (
        servers.running(command, port, subprocess.DEVNULL),
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as browser,
    ):
        visit(browser)
        run("python mysite.py clearsessions")


def run(command):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def login(browser):
    page = browser.get("/", follow_redirects=True)
    [token] = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    fields = {"username": "ada", "password": "secret", "csrfmiddlewaretoken": token}
    return browser.post(str(page.url), data=fields, follow_redirects=True).text


def visit(browser):
    assert login(browser) == "Hello ada, your cart: tea"
    assert browser.get("/").text == "Hello ada, your cart: tea, tea"
    assert re.fullmatch(r"Order \w+: tea, tea", browser.get("/order").text)
    for _ in range(4):
        browser.get("/")
    assert browser.get("/order").status_code == 500
    assert browser.get("/").text == f"Hello ada, your cart: {', '.join(['tea'] * 5)}"
    with httpx.Client(base_url=browser.base_url, headers={"User-Agent": "Lynx"}) as other:
        login(other)
        assert sorted(line.split("/")[0].split()[0] for line in browser.get("/devices").text.splitlines()) == [
            "Lynx",
            "python-httpx",
        ]
        assert browser.get("/log-out-everywhere").text == "1 other sessions ended"
        assert other.get("/").status_code == 302
        assert browser.get("/").status_code == 302
