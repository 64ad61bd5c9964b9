"""A backend from outside: found by its entry point once it is installed, and held to the suite."""

import os
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest
import servers

TOY = Path(__file__).parent / "toy_backend"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the toy installed in it, as pip would leave it; pip itself may need the network to build it."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((TOY / "pyproject.toml").read_text())["project"]
    for module in ("toy_backend.py", "test_toy.py"):
        (site / module).write_text((TOY / module).read_text())
    info = site / f"kiokupy_toy-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in found.items())
        for group, found in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points))
    return site


def run(site, *arguments, environment=os.environ):
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=site,
        # The tests of the toy need no plugin, and some take long to import.
        env={**environment, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_installed_backend_is_found_by_its_name(site):
    script = """
        import kiokupy
        with kiokupy.connect("Toy", path="toy.json") as directory:
            directory.store({"a": 1}, id="x")
            try:
                kiokupy.connect("Toy", path="toy.json")
            except kiokupy.StoreLocked as error:
                print(error.location)
        with kiokupy.connect({"backend": "Toy", "path": "toy.json", "create": 0}) as directory:
            print(directory, directory.get("x"))
        try:
            kiokupy.connect("toy")
        except kiokupy.UnknownBackend as error:
            print(error.near)
    """
    done = run(site, "-c", textwrap.dedent(script))

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["toy:toy.json", "<Directory toy:toy.json> {'a': 1}", "['Toy']"]


def test_a_backend_that_is_not_installed_is_unknown():
    done = run(TOY.parent, "-c", "import kiokupy; kiokupy.connect('Toy')")

    assert "UnknownBackend: there is no backend 'Toy'" in done.stderr


def test_it_passes_the_suite_and_the_capabilities_it_lacks_are_named(site):
    options = ["-ra", "-W", "error", "-p", "no:cacheprovider"]
    done = run(site, "-m", "pytest", *options, "test_toy.py", environment=servers.unmeasured())

    summary = done.stdout.splitlines()[-1]
    assert (done.returncode, " passed" in summary, "failed" in summary) == (0, True, False), done.stdout
    assert "TestToy does not declare the capability SHARED" in done.stdout
    assert "TestToy does not declare the capability HISTORY" in done.stdout
    assert "LASTING" not in done.stdout


def outcome(site, body):
    """Run a test of a backend that is worse than the toy; return what pytest says."""
    lines = ["import pytest, threading, toy_backend", "from kiokupy.testing import BackendSuite, Capability, needs"]
    (site / "test_worse.py").write_text("\n".join(lines) + "\n" + textwrap.dedent(body))
    return run(
        site, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-k", "leaves_something", "test_worse.py"
    ).stdout


WORSE = """
    class TestWorse(BackendSuite):
        capabilities = ["lasting"]

        @pytest.fixture
        def target(self, tmp_path):
            return {{"backend": "Toy", "path": tmp_path / "store.json"}}

        def test_that_leaves_something(self, connect, target):
            {body}
"""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("self.scope = connect().new_scope()", "has a connection that was opened at"),
        ("threading.Thread(target=threading.Event().wait, daemon=True, name='forgotten').start()", "'forgotten' runs"),
        (
            "from kiokupy import ghosts; self.ghost = object(); ghosts.register(self.ghost, print, 'x')",
            "the test left unloaded objects behind",
        ),
        ("connect().close(); TestWorse.lock = toy_backend.LockFile(f\"{target['path']}.lock\")", "holds this store"),
    ],
    ids=["connection", "thread", "unloaded objects", "lock"],
)
def test_what_a_test_leaves_behind_fails_it(site, body, message):
    said = outcome(site, WORSE.format(body=body))

    assert message in said
    assert "1 passed" in said
    assert "1 error" in said


def test_a_capability_that_there_is_not_is_refused(site):
    said = outcome(site, "class TestWorse(BackendSuite):\n    capabilities = ['everlasting']")

    assert "there is no capability 'everlasting'. There are: lasting, shared, readonly, history" in said


def test_kiokupy_itself_needs_no_pytest(site):
    done = run(site, "-c", "import sys; sys.modules['pytest'] = None; from kiokupy import *; connect().close()")

    assert (done.returncode, done.stderr) == (0, "")
