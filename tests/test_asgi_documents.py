"""The pages on ASGI frameworks do what they show: their application is served, and what a browser asks is asked."""

import json
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
import servers

DOCS = Path(__file__).parent.parent / "docs"
ADDRESS = "http://127.0.0.1:8000"


def blocks(page, language):
    """Return the code blocks of a page, in order."""
    found = re.findall(rf"^\.\. code-block:: {language}\n((?:    .*\n|\n)+)", page, re.MULTILINE)
    return [textwrap.dedent(re.sub(r"^    :caption: .*\n", "", block)).strip("\n") + "\n" for block in found]


def ask(browser, arguments):
    """Ask what ``curl`` would with these arguments, and return the text of the answer."""
    *options, url = arguments
    known = dict(zip(options[::2], options[1::2], strict=True))
    method = known.pop("-X", "POST" if "--json" in known else "GET")
    data = json.loads(known.pop("--json", "null"))
    assert known == {}
    return browser.request(method, url, json=data).text.removesuffix("\n")


@pytest.mark.parametrize("name", ["asgi", "fastapi", "litestar"])
def test_a_page_begins_with_an_empty_file_and_ends_with_a_user(tmp_path, name):
    page = (DOCS / f"{name}.rst").read_text()
    (application,), port = blocks(page, "python"), servers.free_port()
    (tmp_path / "app.py").write_text(application)
    install, start, *browsing = blocks(page, "console")
    assert install.startswith("$ pip install 'kiokupy[asgi,dbi]' ")
    command = [sys.executable, "-m", *shlex.split(start.removeprefix("$ ")), "--port", str(port)]
    command += ["--app-dir", str(tmp_path)]
    agent = {"User-Agent": "Firefox"}
    here = [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); os.execv({command[0]!r}, {command!r})"]

    answers = 0
    with servers.running(here, port, subprocess.DEVNULL), httpx.Client(headers=agent, timeout=30) as browser:
        for line in "".join(browsing).splitlines():
            if line.startswith("$ browse "):
                words = shlex.split(line.replace(ADDRESS, f"http://127.0.0.1:{port}"))
                found = ask(browser, words[2:])
            elif not line.startswith("$ alias browse="):
                assert found == line
                answers += 1
    assert answers > 5
