"""Django's own tests of session engines pass; they are in Django's source distribution, which pip fetches once."""

import importlib.metadata
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import servers
from conftest import new_place

VERSION = importlib.metadata.version("Django")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kiokupy-tests"
PACKAGE = "sessions_tests"


@pytest.fixture(scope="module")
def folder():
    """The folder in which the package of Django's tests is."""
    folder = CACHE / f"django-{VERSION}"
    if not (folder / PACKAGE / "tests.py").exists():
        fetch(folder)
    return folder


def fetch(folder):
    archives = folder / "archive"
    # pip checks the archive's SHA-256 against the one in the index.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "Django", "--dest", str(archives)]
    done = subprocess.run([*command, f"Django=={VERSION}"], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        assert not servers.IN_CI, done.stderr
        pytest.skip(f"Django's source distribution cannot be fetched: {done.stderr.strip()[-200:]}")
    [archive] = archives.iterdir()
    with tarfile.open(archive) as opened:
        for member in opened:
            parts = Path(member.name).parts
            if parts[1:3] == ("tests", PACKAGE):
                member.name = str(Path(*parts[2:]))
                opened.extract(member, folder, filter="data")


@pytest.mark.parametrize("kind", ["Hash", "File", "SQLite", "PostgreSQL"])
def test_djangos_own_tests_pass(folder, tmp_path, kind):
    with new_place(kind, tmp_path) as place:
        target = f"file:path={place.options['path']}" if kind == "File" else place.target
        script = Path(__file__).with_name("django_peers.py")
        command = [sys.executable, "-W", "error", str(script), str(folder), target]
        done = subprocess.run(
            command, env=servers.unmeasured(), check=False, capture_output=True, text=True, timeout=300
        )

    assert done.returncode == 0, done.stderr[-5000:]
    assert "Ran 75 tests" in done.stderr  # 65 of the engine, 10 of the middleware
    assert "skipped" not in done.stderr
