"""Inspection: what hostile and damaged records look like, of kiokupy's kind and of ZODB's own; nothing in them runs."""

import contextlib
import datetime
import pathlib
import pickle
import sys

import pytest
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from persistent.mapping import PersistentMapping
from persistent.wref import WeakRef
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.utils import load_current

import kiokupy
from kiokupy import inert, inspection
from kiokupy.database import Database
from kiokupy.entry import CALL, ITEMS, NEW, Record

DOUBLED = 60  # times that a tuple holds itself twice: 2**60 parts, in a few bytes
SHARED = b")" + b"2\x86" * DOUBLED


class Account(Persistent):
    pass


def shown(data):
    return inspection.render(inert.read(b"\x80\x04" + data))


class TestPickles:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (b"})K\x01s.", {"$items": [[[], 1]]}),
            (b"(K\x01K\x02)K\x03d.", {"$items": [[1, 2], [[], 3]]}),
            (b"(K\x01)\x91.", {"$set": [1, []]}),
            (b"\x8f(K\x01)\x90.", {"$set": [1, []]}),
            (b"(X\x01\x00\x00\x00aK\x02d.", {"a": 2}),
            (b"\x96\x01" + bytes(7) + b"a.", {"$bytes": "YQ=="}),
            (b")Q.", {"$class": "ZODB:reference", "$args": [[]]}),
        ],
    )
    def test_keys_and_elements_of_every_kind_are_shown(self, data, expected):
        assert shown(data) == expected

    @pytest.mark.parametrize(
        "data",
        [
            SHARED + b".",
            b"}" + SHARED + b"K\x01s.",
            b"(" + SHARED + b"K\x01d.",
            b"(" + SHARED + b"\x91.",
            SHARED + b"Q.",
            b"cdatetime\ndatetime\n(S'x'\ncx\ny\n(S'a'\n" + SHARED + b"tRtR.",
        ],
        ids=["value", "key", "DICT", "frozenset", "reference", "zone"],
    )
    def test_a_few_bytes_that_unfold_to_more_than_memory_are_refused(self, monkeypatch, data):
        monkeypatch.setattr(inspection, "_MOST_TEXT", 1_000_000)  # the same in a hundredth of the time
        with pytest.raises(ValueError, match="unfolds to more than 1,000,000 characters"):
            shown(data)

    def test_a_long_text_that_is_named_over_and_over_is_refused(self):
        text = b"X" + (100_000).to_bytes(4, "little") + b"a" * 100_000 + b"\x94"
        with pytest.raises(ValueError, match="unfolds to more"):
            shown(b"(" + text + b"h\x00" * 2000 + b"l.")

    def test_a_key_that_is_deeper_than_the_stack_is_cut_off(self):
        assert '{"$deeper": "tuple"}' in str(shown(b"})" + b"\x85" * 1_000_000 + b"K\x01s.")).replace("'", '"')

    def test_a_size_that_the_data_does_not_have_takes_no_memory(self):
        with pytest.raises(ValueError, match="cannot be read"):
            shown(b"\x96" + (1 << 60).to_bytes(8, "little") + b".")

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (float("nan"), {"$float": "nan"}),
            (float("-inf"), {"$float": "-inf"}),
            (1 << 10_000, {"$int": hex(1 << 10_000)}),
            (1 << 9_999, 1 << 9_999),
            (-1.5, -1.5),
        ],
    )
    def test_numbers_that_json_or_python_cannot_write_have_a_form(self, value, expected):
        assert inspection.render(value) == expected

    def test_paths_of_shared_values_abbreviate_long_keys(self):
        shared = [1]
        assert inspection.render({"k" * 100: shared, "again": shared})["again"] == {"$same": "k" * 40 + "…"}

    def test_a_name_of_a_zone_that_is_no_text_is_not_used(self):
        found = shown(b"cdatetime\ndatetime\n(S'x'\ncx\ny\n(S'a'\nK\x05tRtR.")
        assert found["$class"] == "datetime:datetime"
        assert found["$args"][1] == {"$class": "x:y", "$args": ["a", 5]}


class TestRecords:
    def content(self, head, state, flags):
        return inspection.content(Record("x:X", head and pickle.dumps(head), pickle.dumps(state), (), flags))

    def test_keyword_arguments_are_shown(self):
        assert self.content(((1,), {"b": 2}), {"c": 3}, NEW) == {
            "$class": "x:X",
            "$args": [1],
            "$pairs": {"b": 2},
            "c": 3,
        }
        assert self.content(((1,), {}), None, CALL) == {"$class": "x:X", "$args": [1]}

    def test_items_and_keyword_arguments_are_shown_together(self):
        found = self.content(((), {"b": 2}), (None, None, {"k": 1}), NEW | ITEMS)
        assert found == {"$class": "x:X", "$pairs": {"b": 2, "k": 1}}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store.fs")


class Store:
    """A store with one Persistent object under the id ``it``; its records can be overwritten by hand."""

    def __init__(self, path):
        self.path = path
        self.oids = {}

    def put(self, obj):
        with kiokupy.connect("File", path=self.path, allow_classes=[Account]) as directory:
            directory.store(obj, id="it")
            with directory.new_unit() as unit:
                entry = unit.root["entries"]["it"]
                self.oids = {"entry": entry._p_oid, "object": entry.record.state._p_oid}
                entry.record.state._p_activate()
                if isinstance(getattr(entry.record.state, "child", None), Persistent):
                    self.oids["child"] = entry.record.state.child._p_oid

    def overwrite(self, which, data):
        storage = FileStorage(str(self.path))
        _, serial = load_current(storage, self.oids[which])
        txn = TransactionMetaData()
        storage.tpc_begin(txn)
        storage.store(self.oids[which], serial, data, "", txn)
        storage.tpc_vote(txn)
        storage.tpc_finish(txn)
        storage.close()

    def content(self):
        storage = FileStorage(str(self.path), read_only=True)
        database = Database(storage, "here", inspection.find_inert, create=False, readonly=True, cache_size=100)
        try:
            with database.open() as unit:
                unit.connection.graph = inspection.InertGraph()
                return inspection.content(unit.root["entries"]["it"].record)
        finally:
            database.close()


class TestRecordsOfZodb:
    def test_values_that_a_rule_keeps_are_shown(self, store):
        account = Account()
        account.home, account.since = pathlib.PurePosixPath("/home"), datetime.date(2026, 1, 2)
        store.put(account)

        assert store.content() == {
            "$class": f"{__name__}:Account",
            "home": {"$class": "pathlib:PurePosixPath", "$value": "/home"},
            "since": {"$class": "datetime:date", "$value": "2026-01-02"},
        }

    def test_classes_and_counters_are_shown(self, store):
        account = Account()
        account.kind, account.number = Account, Length(5)
        store.put(account)
        found = store.content()

        assert found["kind"] == {"$class": f"{__name__}:Account"}
        assert found["number"] == {"$class": "BTrees.Length:Length", "$state": 5}

    def test_a_weak_reference_of_zodb_is_shown_by_its_class(self):
        weak = WeakRef(Account())
        assert inspection.render([weak]) == [{"$class": "persistent.wref:WeakRef"}]

    @pytest.mark.parametrize(
        ("call", "expected"),
        [
            (b"cposix\nsystem\n(S'touch MARK'\ntR.", {"$class": "posix:system", "$args": ["touch MARK"]}),
            (b"\x80\x02cposix\nsystem\nX\x0a\x00\x00\x00touch MARK\x85\x81.", {"$class": "posix:system", "$args": ["touch MARK"]}),
            (b"(S'open(\"MARK\", \"w\")'\ni__builtin__\neval\n.", {"$class": "__builtin__:eval", "$args": ['open("MARK", "w")']}),
        ],
    )  # fmt: skip
    def test_a_call_in_the_state_of_an_object_is_shown_and_not_made(self, store, tmp_path, monkeypatch, call, expected):
        monkeypatch.chdir(tmp_path)
        store.put(Account())
        store.overwrite("object", f"c{__name__}\nAccount\n.".encode() + call)

        assert store.content() == {"$class": f"{__name__}:Account", "$state": expected}
        assert not (tmp_path / "MARK").exists()

    @pytest.mark.parametrize("which", ["object", "child", "entry"])
    @pytest.mark.parametrize(
        "data",
        [
            b"cpersistent.mapping\nPersistentMapping\n.cposix\nsystem\n(S'touch MARK'\ntR.",
            b"cposix\nsystem\n.cposix\nsystem\n(S'touch MARK'\ntR.",
            b"(cposix\nsystem\n(S'touch MARK'\ntt.}.",
            b"ckiokupy.entry\nEntry\n.cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'touch MARK'\ntR.",
        ],
    )
    def test_no_record_of_zodb_runs_anything(self, store, tmp_path, monkeypatch, which, data):
        monkeypatch.chdir(tmp_path)
        account = Account()
        account.child = PersistentMapping()
        store.put(account)
        store.overwrite(which, data)
        with contextlib.suppress(Exception):  # some cannot be shown; this test is about what does not happen
            store.content()
        assert not (tmp_path / "MARK").exists()

    def test_the_tests_of_persistent_and_btrees_are_not_imported(self, store):
        module = "persistent.tests.test_mapping"
        store.put(Account())
        store.overwrite("object", f"c{module}\nTestPersistentMapping\n.}}.".encode())

        assert store.content() == {"$class": f"{__name__}:Account"}
        assert module not in sys.modules

    def test_a_container_with_more_than_can_be_shown_is_refused(self, store, monkeypatch):
        monkeypatch.setattr(inspection, "_MOST_ITEMS", 10)
        account = Account()
        account.tree = OOBTree(dict.fromkeys(range(11)))
        store.put(account)

        with pytest.raises(ValueError, match="it has more than 10 items"):
            store.content()
