"""Files: damage in a FileStorage's file is found in its bytes, and the command that is named as the fix works."""

import re
import shlex
import subprocess
import sys
from contextlib import closing

import pytest
from graph_classes import Person
from ZODB.FileStorage import FileIterator

import kiokupy
from kiokupy.errors import StoreUnreadable
from kiokupy.maintenance import Kind, files, fsck, fsck_file

NAMES = [f"{n}" for n in range(6)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """The bytes of a sound store, a transaction an object; and where its transactions begin."""
    path = tmp_path_factory.mktemp("sound") / "store.fs"
    with kiokupy.connect("File", path=path, allow_classes=[Person]) as directory:
        for name in NAMES:
            directory.store(Person(name, pad="." * 300), id=name)
    with closing(FileIterator(str(path))) as found:
        starts = [transaction._tpos for transaction in found]
    return path.read_bytes(), starts


@pytest.fixture
def path(tmp_path):
    return tmp_path / "it is.fs"


def names_in(path):
    """Return what can be read after opening for writing, and that it can be written."""
    with kiokupy.connect("File", path=path, create=0, allow_classes=[Person]) as directory:
        there = [name for name in NAMES if directory.exists(name) and directory.get(name).name == name]
        directory.store(Person("new"), id="new")
    with kiokupy.connect("File", path=path, create=0, allow_classes=[Person]) as directory:
        assert directory.get("new").name == "new"
        assert fsck(directory).ok
    return there


def run_fix(finding):
    """Run the command that a finding names."""
    found = re.search(r"(truncate .*|python -m ZODB\.fsrecover .*?)(\. Then.*)?$", finding.fix)
    command = found[1]
    words = shlex.split(command)
    if words[0] == "python":
        words[0] = sys.executable
    subprocess.run(words, check=True, capture_output=True, timeout=60)


def test_a_sound_file_has_no_findings(sound, path):
    path.write_bytes(sound[0])
    assert fsck_file(path) == []


def test_an_empty_file_is_a_store_that_nobody_wrote_to(path):
    path.touch()
    assert fsck_file(path) == []


@pytest.mark.parametrize("count", [1, 8, 22, 23, 24, 5000])
def test_zeros_at_the_end_are_found_and_can_be_cut_off(sound, path, count):
    path.write_bytes(sound[0] + bytes(count))

    (finding,) = fsck_file(path)

    assert (finding.kind, finding.subject) == (Kind.FILE, str(path))
    assert f"from byte {len(sound[0])} to the end, {count} bytes" in finding.detail
    run_fix(finding)
    assert path.read_bytes() == sound[0]
    assert names_in(path) == NAMES


@pytest.mark.parametrize("count", [1, 7, 8, 9, 50, 300])
def test_a_last_transaction_that_is_cut_is_found_and_can_be_cut_off(sound, path, count):
    data, starts = sound
    path.write_bytes(data[:-count])

    (finding,) = fsck_file(path)

    assert f"from byte {starts[-1]} to the end" in finding.detail
    run_fix(finding)
    assert names_in(path) == NAMES[:-1]


def test_garbage_at_the_end_is_found_and_can_be_cut_off(sound, path):
    path.write_bytes(sound[0] + b".\x00\x00\x00\x00\x00\x00\x00\x10" * 40)
    (finding,) = fsck_file(path)
    run_fix(finding)
    assert names_in(path) == NAMES


@pytest.mark.parametrize("offset", [8, 15, 16, 17, 22, 60, 61])
def test_a_damaged_transaction_in_the_middle_is_found_and_what_is_sound_can_be_recovered(sound, path, offset):
    data, starts = sound
    damaged = bytearray(data)
    damaged[starts[4] + offset] ^= 0xFF
    path.write_bytes(damaged)

    (finding,) = fsck_file(path)

    assert f"from byte {starts[4]} to {starts[5]}, with sound transactions behind" in finding.detail
    before = path.read_bytes()
    run_fix(finding)
    assert path.read_bytes() == before
    recovered = path.with_name(f"{path.name}.recovered")
    assert fsck_file(recovered) == []
    with kiokupy.connect("File", path=recovered, create=0, allow_classes=[Person]) as directory:
        assert directory.get(NAMES[-1]).name == NAMES[-1]
        assert not fsck(directory).ok


def test_two_damages_are_told_apart(sound, path):
    data, starts = sound
    damaged = bytearray(data)
    damaged[starts[3] + 16] ^= 0xFF
    path.write_bytes(damaged + bytes(100))

    first, second = fsck_file(path)

    assert f"from byte {starts[3]} to {starts[4]}" in first.detail
    assert f"from byte {len(data)} to the end" in second.detail


def test_a_transaction_that_is_older_than_the_one_before_is_found(sound, path):
    data, starts = sound
    changed = bytearray(data)
    changed[starts[3]] += 1
    path.write_bytes(changed)

    (finding,) = fsck_file(path)

    assert f"the transaction at byte {starts[4]} is older" in finding.detail


def test_a_file_of_another_kind_is_refused(path):
    path.write_text("something else")
    with pytest.raises(StoreUnreadable, match="no FileStorage"):
        fsck_file(path)


def test_a_file_that_cannot_be_read_is_refused(path):
    with pytest.raises(StoreUnreadable, match="No such file"):
        fsck_file(path)


def test_a_length_that_leads_nowhere_is_damage_like_any_other(sound, path):
    data, starts = sound
    damaged = bytearray(data)
    header = starts[4] + 23 + int.from_bytes(data[starts[4] + 17 : starts[4] + 19]) + 34
    damaged[header : header + 8] = b"\xff" * 8
    path.write_bytes(damaged)

    assert len(fsck_file(path)) == 1


def test_damage_in_the_file_of_an_open_store_is_found(sound, path):
    data, starts = sound
    path.write_bytes(data)
    with kiokupy.connect("File", path=path, allow_classes=[Person]) as directory:
        with path.open("r+b") as file:
            file.seek(starts[2] + 16)
            file.write(b"?")
        assert fsck(directory).counts[Kind.FILE] == 1


def test_progress_is_told(sound, path, monkeypatch):
    monkeypatch.setattr(files, "_BETWEEN_STEPS", 5)
    path.write_bytes(sound[0])
    steps = []
    fsck_file(path, progress=steps.append)
    assert [step.done for step in steps] == [sound[1][4], len(sound[0])]
