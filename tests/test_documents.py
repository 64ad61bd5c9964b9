"""The README's and the documents' examples do what they show."""

import doctest
import sys
import types
from pathlib import Path

import pytest

HOME = Path(__file__).parent.parent
DOCUMENTS = [HOME / "README.rst", *sorted((HOME / "docs").glob("*.rst"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_examples_do_what_they_show(tmp_path, monkeypatch, document):
    monkeypatch.chdir(tmp_path)
    reader = types.ModuleType("__main__")  # the classes in it can be imported, as those typed in by hand
    monkeypatch.setitem(sys.modules, "__main__", reader)
    examples = doctest.DocTestParser().get_doctest(document.read_text(), {}, document.name, str(document), 0)
    examples.globs = vars(reader)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(examples, clear_globs=False)

    assert runner.failures == 0
    assert runner.tries > 20 or ">>>" not in document.read_text()


@pytest.mark.parametrize("word", ["scripts/demo", "scripts/test", "kiokupy-dump"])
def test_the_commands_that_the_readme_names_are_there(word):
    assert word in DOCUMENTS[0].read_text()
    assert not word.startswith("scripts/") or (HOME / word).exists()


def test_the_page_on_kiokudb_names_only_tests_that_are_there():
    words = (HOME / "docs" / "kiokudb.rst").read_text().replace(",", " ").split()
    named = {word for word in words if word.startswith("test_")}

    assert len(named) > 20
    assert {name for name in named if not (HOME / "tests" / f"{name}.py").exists()} == set()
