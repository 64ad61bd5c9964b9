"""The README's and the documents' examples do what they show."""

import contextlib
import doctest
import re
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest
import servers

from kiokupy.testing import AdapterSuite

HOME = Path(__file__).parent.parent
#: What OWASP's ASVS 5.0 requires of sessions and cookies.
ASVS = [
    *(f"7.{section}.{number}" for section, last in enumerate((3, 4, 2, 5, 3, 2), 1) for number in range(1, last + 1)),
    *(f"3.3.{number}" for number in range(1, 6)),
]
DOCUMENTS = [HOME / "README.rst", *sorted((HOME / "docs").glob("*.rst"))]


#: A file that a document has its reader write; and a program of them that it has its reader run.
FILE = re.compile(r"^\.\. code-block:: python\n    :name: (\S+)\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)
PROGRAM = re.compile(r"``python (\S+)``")


@contextlib.contextmanager
def programs_of(text):
    """Write the files of a document and run its programs, each on a free port; give the text with these ports in it."""
    ports = {port: str(servers.free_port()) for port in set(re.findall(r"\b808\d\b", text)) if PROGRAM.search(text)}
    text = re.sub(r"\b808\d\b", lambda found: ports.get(found[0], found[0]), text)
    files = {name: textwrap.dedent(body) for name, body in FILE.findall(text)}
    with contextlib.ExitStack() as stack:
        for name in PROGRAM.findall(text):
            Path(name).write_text(files[name])
            port = next(port for port in ports.values() if port in files[name])
            stack.enter_context(servers.running([sys.executable, name], int(port), subprocess.DEVNULL))
        yield text


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_examples_do_what_they_show(tmp_path, monkeypatch, document):
    monkeypatch.chdir(tmp_path)
    reader = types.ModuleType("__main__")  # the classes in it can be imported, as those typed in by hand
    monkeypatch.setitem(sys.modules, "__main__", reader)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    with programs_of(document.read_text()) as text:
        examples = doctest.DocTestParser().get_doctest(text, {}, document.name, str(document), 0)
        examples.globs = vars(reader)
        runner.run(examples, clear_globs=False)

    assert runner.failures == 0
    assert runner.tries > 10 or ">>>" not in document.read_text()


@pytest.mark.parametrize("word", ["scripts/demo", "scripts/test", "kiokupy-dump"])
def test_the_commands_that_the_readme_names_are_there(word):
    assert word in DOCUMENTS[0].read_text()
    assert not word.startswith("scripts/") or (HOME / word).exists()


def test_the_page_on_kiokudb_names_only_tests_that_are_there():
    words = (HOME / "docs" / "kiokudb.rst").read_text().replace(",", " ").split()
    named = {word for word in words if word.startswith("test_")}

    assert len(named) > 20
    assert {name for name in named if not (HOME / "tests" / f"{name}.py").exists()} == set()


def test_the_page_on_security_names_only_tests_that_are_there():
    named = set(re.findall(r"\b(AdapterSuite|test_\w+)\.(test_\w+)", (HOME / "docs" / "security.rst").read_text()))
    suite = {name for name in dir(AdapterSuite) if name.startswith("test_")}
    there = {("AdapterSuite", name) for name in suite}
    for module in {module for module, _ in named if module != "AdapterSuite"}:
        text = (HOME / "tests" / f"{module}.py").read_text()
        there |= {(module, name) for name in re.findall(r"^ *def (test_\w+)", text, re.MULTILINE)}

    assert len(named) > 60
    assert named - there == set()
    assert "test_" not in re.sub(
        r"\b(AdapterSuite|test_\w+)\.test_\w+", "", (HOME / "docs" / "security.rst").read_text()
    )


@pytest.mark.parametrize("requirement", ASVS)
def test_the_page_on_security_goes_through_the_requirements(requirement):
    assert f"**{requirement}**" in (HOME / "docs" / "security.rst").read_text()


def test_the_page_on_security_names_all_attacks():
    attacks = re.findall(r"^    def (test_\w+)", (HOME / "tests" / "test_attacks.py").read_text(), re.MULTILINE)
    page = (HOME / "docs" / "security.rst").read_text()

    assert [name for name in attacks if f"test_attacks.{name}" not in page] == []
