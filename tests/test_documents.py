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

HOME = Path(__file__).parent.parent
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
