"""Editing: the text of objects, changed and put back in one transaction or not at all."""

import json
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from graph_classes import Account, Person

import kiokupy
from kiokupy import Index
from kiokupy.errors import ConflictError, DuplicateId, InvalidId, NotFound, StoreReadOnly, StreamError
from kiokupy.maintenance import Edited, edit, external, fsck


@pytest.fixture
def directory():
    with kiokupy.connect("Hash", allow_classes=[Person, Account]) as directory:
        with directory.new_scope() as scope:
            for name in "abc":
                scope.store(Person(name, age=1), id=name)
            account = Account(scope.get("a"))
            scope.store(account, id="account")
        yield directory


def last(directory):
    with directory.new_unit() as unit:
        return unit.connection.newest()


def replacing(*pairs):
    def editor(text):
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        return text

    return editor


def forms_of(text):
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        form, at = decoder.raw_decode(text, at)
        found.append(form)
        at += 1
    return found


def editing_forms(change):
    """Return an editor that gives the forms between header and end to a function, and takes what that returns."""

    def editor(text):
        head, *body, end = forms_of(text)
        return "".join(json.dumps(form, indent=1) + "\n" for form in (head, *change(body), end))

    return editor


def test_the_editor_gets_readable_text_and_a_changed_attribute_is_written(directory):
    seen = []
    assert edit(
        directory, ["b", "a"], lambda text: seen.append(text) or text.replace('"age": 1', '"age": 30')
    ) == Edited(updated=("a", "b"))
    assert [form.get("entry") for form in forms_of(seen[0])] == [None, "a", "b", None]
    assert '\n  "entry": "a",\n' in seen[0]
    assert [directory.get(id).age for id in "abc"] == [30, 30, 1]


def test_nothing_changed_is_nothing_written(directory):
    before = last(directory)
    assert edit(directory, ["a", "account"], lambda text: text) == Edited()
    assert edit(directory, ["a", "b"], editing_forms(reversed)) == Edited()
    assert last(directory) == before


def test_the_ids_of_what_was_updated_are_in_order(directory):
    def change(forms):
        return [form | {"flags": []} for form in reversed(forms)]

    assert edit(directory, "abc", editing_forms(change)).updated == ("a", "b", "c")
    assert not directory.is_root("a")


def test_what_is_missing_is_deleted_and_a_new_id_is_inserted(directory):
    def change(forms):
        return [forms[0], forms[0] | {"entry": "d"}]

    assert edit(directory, ["a", "b"], editing_forms(change)) == Edited(inserted=("d",), deleted=("b",))
    assert directory.lookup("b") is None
    assert directory.get("d").name == "a"


def test_an_object_that_was_given_another_id_is_renamed(directory):
    assert edit(directory, ["b"], replacing(('"entry": "b"', '"entry": "z"'))) == Edited(
        inserted=("z",), deleted=("b",)
    )
    assert (directory.get("z").name, directory.exists("b")) == ("b", False)
    assert not fsck(directory).findings


def test_a_record_of_a_persistent_object_is_changed_and_added(directory):
    assert edit(directory, ["account"], replacing(('"balance": 0', '"balance": 5'))) == Edited(records=1)
    assert (directory.get("account").balance, directory.get("account").owner.name) == (5, "a")

    def add(forms):
        entry, record = forms
        return [*forms, entry | {"entry": "second", "state": {"$record": 2}}, record | {"record": 2}]

    assert edit(directory, ["account"], editing_forms(add)) == Edited(inserted=("second",), records=1)
    assert directory.get("second").balance == 5


def test_indexes_are_told_to_be_stale():
    with kiokupy.connect("Hash", allow_classes=[Person], indexes=[Index("age", on=Person)]) as directory:
        directory.store(Person("a", age=1), id="a")
        assert edit(directory, ["a"], replacing(('"age": 1', '"age": 2'))).stale


def test_a_dry_run_tells_and_writes_nothing(directory):
    before = last(directory)
    edited = edit(directory, ["a"], replacing(('"age": 1', '"age": 2')), dry_run=True)
    assert (edited.updated, last(directory), directory.get("a").age) == (("a",), before, 1)


def test_a_store_that_is_for_reading_is_refused_before_the_editor_runs(tmp_path):
    kiokupy.connect("File", path=tmp_path / "x.fs").close()
    with (
        kiokupy.connect("File", path=tmp_path / "x.fs", readonly=True) as directory,
        pytest.raises(StoreReadOnly),
    ):
        edit(directory, [], pytest.fail)


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ('"age": 1', '"age": ', 7, "no JSON"),
        ('"age": 1', '"age": 1e999', 2, "float"),
        ('"age": 1', '"age": {"$what": 1}', 2, "what"),
        ('"class"', '"klass"', 2, "klass"),
        ('"entry": "a"', '"entry": ""', 2, "cannot be an id"),
        ('"entry": "a"', '"entry": []', 2, "unhashable"),
        ('"entry": "a"', '"session": "a"', 2, "sessions are not edited"),
        ('{"end": true}', "", 2, "cut off"),
    ],
)
def test_malformed_text_is_named_by_its_line_and_nothing_is_written(directory, old, new, line, problem):
    before = last(directory)
    with pytest.raises(StreamError, match=problem) as caught:
        edit(directory, ["a"], replacing((old, new)))
    if problem != "no JSON":
        assert caught.value.line == line
    assert last(directory) == before


def test_two_lines_for_one_object_are_refused(directory):
    with pytest.raises(StreamError, match="there is a line for entry 'a' already"):
        edit(directory, ["a"], editing_forms(lambda forms: forms * 2))


def test_an_id_that_another_object_has_is_refused(directory):
    with pytest.raises(DuplicateId):
        edit(directory, ["a"], replacing(('"entry": "a"', '"entry": "c"')))
    assert directory.get("a").name == "a"


def test_an_id_that_is_not_in_the_store_is_not_edited(directory):
    with pytest.raises(NotFound, match="nothing"):
        edit(directory, ["a", "nothing"], pytest.fail)
    with pytest.raises(InvalidId):
        edit(directory, [""], pytest.fail)


@pytest.mark.parametrize("meanwhile", ["change", "delete"])
def test_an_object_that_was_changed_meanwhile_is_a_conflict(directory, meanwhile):
    def editor(text):
        if meanwhile == "delete":
            directory.delete("a")
        else:
            with directory.new_scope() as scope:
                scope.get("a").name = "other"
        return text.replace('"age": 1', '"age": 2')

    with pytest.raises(ConflictError, match="entry 'a' was changed"):
        edit(directory, ["a", "b"], editor)
    assert directory.get("b").age == 1


def test_a_record_that_was_changed_meanwhile_is_a_conflict(directory):
    def editor(text):
        with directory.new_scope() as scope:
            scope.get("account").balance = 9
        return text.replace('"balance": 0', '"balance": 5')

    with pytest.raises(ConflictError, match="record 1 was changed"):
        edit(directory, ["account"], editor)
    assert directory.get("account").balance == 9


@pytest.fixture
def command(tmp_path):
    """A command that notes the path and mode of the file it is given, and changes ages in it."""
    script = tmp_path / "my editor.py"
    script.write_text(
        "import os, sys; path = sys.argv[-1]; text = open(path, encoding='utf-8').read()\n"
        f"open({str(tmp_path / 'seen')!r}, 'w').write(f'{{path}} {{os.stat(path).st_mode}}')\n"
        "open(path, 'w', encoding='utf-8').write(text.replace('\"age\": 1', '\"age\": 44'))\n"
    )
    return shlex.join([sys.executable, str(script)])


@pytest.mark.parametrize("variable", ["VISUAL", "EDITOR", ""])
def test_the_users_editor_runs_on_a_file_of_their_own_that_is_gone_afterwards(
    directory, command, tmp_path, monkeypatch, variable
):
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", "false")
    if variable:
        monkeypatch.setenv(variable, command)
    assert edit(directory, ["a"], external("" if variable else command)).updated == ("a",)
    assert directory.get("a").age == 44
    path, mode = (tmp_path / "seen").read_text().split()
    assert stat.S_IMODE(int(mode)) == 0o600
    assert not Path(path).parent.exists()


def test_an_editor_that_fails_or_is_not_there_is_an_error_that_names_it(directory, monkeypatch, tmp_path):
    before = last(directory)
    with pytest.raises(subprocess.CalledProcessError, match="false"):
        edit(directory, ["a"], external("false"))
    with pytest.raises(FileNotFoundError, match="no-such-editor"):
        edit(directory, ["a"], external("no-such-editor"))
    monkeypatch.setenv("VISUAL", " ")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="'vi'"):
        edit(directory, ["a"], external())
    assert last(directory) == before
