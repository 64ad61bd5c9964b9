"""The README's examples do what they show."""

import doctest
import sys
import types
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.rst"


def test_the_examples_do_what_they_show(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reader = types.ModuleType("__main__")  # the classes in it can be imported, as those typed in by hand
    monkeypatch.setitem(sys.modules, "__main__", reader)
    examples = doctest.DocTestParser().get_doctest(README.read_text(), {}, "README", str(README), 0)
    examples.globs = vars(reader)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(examples, clear_globs=False)

    assert runner.failures == 0
    assert runner.tries > 20


@pytest.mark.parametrize("word", ["scripts/demo", "scripts/test", "kiokupy-dump"])
def test_the_commands_it_names_are_there(word):
    assert word in README.read_text()
    assert not word.startswith("scripts/") or (README.parent / word).exists()
