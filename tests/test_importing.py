"""What a program imports when it imports kiokupy, and when it uses a part: each time in a fresh interpreter, by name."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import servers

import kiokupy

#: What takes long to import, and has to do only with mistakes, with commands or with one kind of store.
COSTLY = {
    "asyncio",
    "difflib",
    "email",
    "importlib.metadata",
    "json",
    "socket",
    "sqlite3",
    "tomllib",
    "unittest",
    "zipfile",
}


def imported_by(script):
    """Return the names of the modules that are there after a script."""
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nimport sys\nprint(*sys.modules)"],
        env=servers.unmeasured(),  # what measures imports much itself
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def ours(names):
    return {name for name in names if name.partition(".")[0] == "kiokupy"}


def test_the_package_brings_its_errors_and_nothing_else():
    names = imported_by("import kiokupy")

    assert ours(names) == {
        "kiokupy", "kiokupy.errors", "kiokupy.errors.objects", "kiokupy.errors.root", "kiokupy.errors.stores",
    }  # fmt: skip
    assert (
        names & {*COSTLY, "BTrees", "ZODB", "dataclasses", "decimal", "hashlib", "inspect", "pickle", "uuid"} == set()
    )


def test_a_directory_does_without_sessions_adapters_and_the_other_backends():
    names = imported_by("import kiokupy; kiokupy.connect('Hash').close()")

    assert names & {"asyncio", "difflib", "sqlite3", "tomllib", "unittest"} == set()
    assert [
        name for name in ours(names) if name.startswith(("kiokupy.sessions", "kiokupy.maintenance", "kiokupy.web"))
    ] == []
    assert {name for name in ours(names) if name.startswith("kiokupy.backends.")} == {
        "kiokupy.backends.dsn",
        "kiokupy.backends.hash",
        "kiokupy.backends.publishing",
    }
    assert names & {"ZEO", "relstorage", "secrets"} == set()


def test_the_help_of_a_command_looks_at_no_store_and_at_nothing_that_is_installed():
    for command in ("dump", "sessions", "reindex"):
        names = imported_by(
            "import contextlib, io\n"
            f"from kiokupy.cli.{command} import main\n"
            "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):\n"
            "    main(['--help'])"
        )

        assert names & {"asyncio", "importlib.metadata", "socket", "sqlite3", "ZEO", "relstorage"} == set(), command


def test_a_name_is_what_type_checkers_take_it_for():
    tree = ast.parse(Path(kiokupy.__file__).read_text())
    homes = {
        alias.name: node.module
        for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module.startswith("kiokupy.")
        for alias in node.names
    }  # fmt: skip

    assert sorted(homes) == kiokupy.__all__
    for name, home in homes.items():
        assert getattr(kiokupy, name) is getattr(importlib.import_module(home), name)


def test_all_names_are_shown():
    assert set(kiokupy.__all__) <= set(dir(kiokupy))


def test_all_names_are_shown_before_they_are_used_and_with_a_star():
    script = "import kiokupy\nassert set(kiokupy.__all__) <= set(dir(kiokupy))\nfrom kiokupy import *\nassert set(kiokupy.__all__) <= set(globals())"

    assert "kiokupy.sessions.manager" in imported_by(script)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'kiokupy' has no attribute 'Nothing'"):
        kiokupy.Nothing  # noqa: B018  # to ask is the test
