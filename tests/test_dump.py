"""kiokupy-dump: what it shows, how it fails, and that it runs nothing."""

import base64
import collections
import contextlib
import datetime
import decimal
import enum
import fractions
import io
import json
import os
import pathlib
import pickle
import pickletools
import pty
import signal
import subprocess
import sys
import types
import uuid
import zoneinfo

import pytest
import yaml
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from persistent.list import PersistentList

import kiokupy
from kiokupy import inert, inspection
from kiokupy.cli import formats
from kiokupy.cli.dump import _open, main
from kiokupy.cli.masking import is_secret, masked
from kiokupy.cli.rows import Rows
from kiokupy.entry import CALL, ITEMS, NEW, VALUE, Entry, Record

NOW = 1_800_000_000.0


class Book:
    def __init__(self, title, **more):
        self.title = title
        self.__dict__.update(more)


class Slotted:
    __slots__ = ("a", "b")


class Shelf(dict):
    pass


class Pile(list):
    pass


class Color(enum.Enum):
    RED = 1


class Account(Persistent):
    pass


Pair = collections.namedtuple("Pair", "x y")


class Sized:
    def __new__(cls, size, *, unit="cm"):
        return object.__new__(cls)

    def __init__(self, size, *, unit="cm"):
        self.size, self.unit = size, unit

    def __getnewargs_ex__(self):
        return (self.size,), {"unit": self.unit}


CLASSES = [Book, Slotted, Shelf, Pile, Color, Account, Pair, Sized]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.fs"


@pytest.fixture
def manager(path):
    with kiokupy.connect("File", path=path, allow_classes=CLASSES) as directory:
        yield kiokupy.SessionManager(directory, kiokupy.SessionPolicy(clock=lambda: NOW))


@pytest.fixture
def dump(path, capsys, monkeypatch):
    monkeypatch.setattr("kiokupy.cli.dump.time.time", lambda: NOW + 60)

    def dump(*arguments, target=path):
        status = main([str(target), *arguments])
        found = capsys.readouterr()
        return status, found.out, found.err

    return dump


def rows(text):
    return [json.loads(line) for line in text.splitlines()]


def shown(dump, manager, value):
    """Return what is shown of a value that is kept in a session."""
    session = manager.create()
    session["value"] = value
    session.flush()
    status, out, _ = dump(session.id)
    assert status == 0
    manager.destroy(session)
    return rows(out)[0]["content"]["value"]


class TestSessions:
    def test_a_session_is_shown_with_its_times_principal_size_and_content(self, manager, dump):
        session = manager.create()
        session.principal, session["cart"] = "alice", {"items": [Book("Emma", pages=3)]}
        session.flush()
        status, out, _ = dump()

        (row,) = rows(out)
        assert status == 0
        assert len(row.pop("session")) == 64
        assert row.pop("size") > 50
        assert row == {
            "created": "2027-01-15T08:00:00+00:00",
            "used": "2027-01-15T08:00:00+00:00",
            "expires": "2027-01-15T08:30:00+00:00",
            "expired": False,
            "principal": "alice",
            "authenticated": "2027-01-15T08:00:00+00:00",
            "content": {"cart": {"items": [{"$class": f"{__name__}:Book", "title": "Emma", "pages": 3}]}},
        }

    def test_where_a_session_is_used_and_where_it_moved_is_shown(self, manager, dump):
        policy = kiokupy.SessionPolicy(clock=lambda: NOW, overlap=60)
        session = kiokupy.SessionManager(manager.directory, policy).open(device=kiokupy.Device("Lynx", "192.0.2.1"))
        session.flush()
        session.regenerate()
        moved, found = sorted(rows(dump()[1]), key=lambda row: "user_agent" in row)

        assert (found["user_agent"], found["address"]) == ("Lynx", "192.0.2.1")
        assert moved["moved_to"] == found["session"]

    def test_the_id_in_the_cookie_finds_a_session_and_is_shown_nowhere(self, manager, dump):
        one, _ = manager.create(), manager.create()
        for arguments in ((one.id,), (one.id, "--format", "table"), (one.id, "--format", "yaml")):
            status, out, err = dump(*arguments)
            assert status == 0
            assert one.id not in out + err
        manager.destroy(one)
        status, out, err = dump(one.id)

        assert (status, out) == (1, "")
        assert "the session of that cookie is not in the store" in err
        assert one.id not in err

    def test_an_id_that_begins_with_a_dash_is_no_option(self, manager, dump, monkeypatch, path):
        id = "-" + "A" * 42
        monkeypatch.setattr("kiokupy.sessions.ids.new_id", lambda: id)
        manager.create()

        assert len(rows(dump(id)[1])) == len(rows(dump("--format", "jsonl", id)[1])) == 1
        monkeypatch.setattr(sys, "argv", ["kiokupy-dump", str(path), id])
        assert main() == 0

    def test_the_beginning_of_the_hash_finds_a_session(self, manager, dump):
        for _ in range(5):
            manager.create()
        keys = [row["session"] for row in rows(dump()[1])]

        assert [row["session"] for row in rows(dump(keys[2][:12])[1])] == [keys[2]]
        assert [row["session"] for row in rows(dump(keys[3])[1])] == [keys[3]]

    def test_an_expired_session_is_shown_as_such(self, manager, dump, monkeypatch):
        manager.create()
        monkeypatch.setattr("kiokupy.cli.dump.time.time", lambda: NOW + 1800)

        assert rows(dump()[1])[0]["expired"] is True

    def test_a_session_that_never_expires_is_shown_as_such(self, path, dump):
        with kiokupy.connect("File", path=path) as directory:
            kiokupy.SessionManager(directory, kiokupy.SessionPolicy(idle=None, absolute=None)).create()
        assert rows(dump()[1])[0]["expires"] is None
        assert "never" in dump("--format", "table")[1]

    def test_objects_are_not_shown_without_all(self, manager, dump):
        manager.directory.store(Book("Emma"), id="emma")
        manager.create()

        assert [next(iter(row)) for row in rows(dump()[1])] == ["session"]
        assert [next(iter(row)) for row in rows(dump("--all")[1])] == ["session", "object"]

    def test_limit(self, manager, dump):
        for _ in range(5):
            manager.create()

        assert len(rows(dump("--limit", "3")[1])) == 3
        assert dump("--limit", "0")[:2] == (0, "")


class TestObjects:
    def test_an_object_is_shown_with_its_references(self, manager, dump):
        emma = Book("Emma")
        manager.directory.store(Book("Persuasion", before=emma), id="p")
        _, out, _ = dump("p")
        id = rows(out)[0]["references"][0]

        assert rows(out) == [
            {
                "object": "p", "class": f"{__name__}:Book", "root": True, "references": [id], "size": rows(out)[0]["size"],
                "content": {"$class": f"{__name__}:Book", "title": "Persuasion", "before": {"$ref": id}},
            }
        ]  # fmt: skip
        assert rows(dump(id)[1])[0]["root"] is False

    def test_class_chooses_by_name_or_pattern(self, manager, dump):
        manager.directory.store(Book("Emma"), id="emma")
        manager.directory.store({"a": 1}, id="d")

        for pattern in ("Book", "*:Book", f"{__name__}:Bo?k"):
            assert [row["object"] for row in rows(dump("--class", pattern)[1])] == ["emma"]
        assert dump("--class", "Boo")[1] == ""

    def test_an_unknown_id_is_reported_and_the_others_are_shown(self, manager, dump):
        manager.directory.store({"a": 1}, id="d")
        status, out, err = dump("d", "nothing")

        assert status == 1
        assert rows(out)[0]["content"] == {"a": 1}
        assert "'nothing' is not in the store" in err

    def test_objects_of_every_build_are_shown(self, manager, dump):
        kinds = {"shelf": Shelf(a=1), "pile": Pile([1]), "sized": Sized(3, unit="m"), "length": Length(5)}
        for key, value in kinds.items():
            manager.directory.store(value, id=key)
        shelf, pile, sized, length = (row["content"] for row in rows(dump(*kinds)[1]))

        assert shelf == {"$class": f"{__name__}:Shelf", "$pairs": {"a": 1}}
        assert pile == {"$class": f"{__name__}:Pile", "$items": [1]}
        assert sized == {"$class": f"{__name__}:Sized", "$args": [3], "$pairs": {"unit": "m"}, "size": 3, "unit": "m"}
        assert length == {"$class": "BTrees.Length:Length", "$state": 5}

    def test_persistent_objects_are_shown_without_their_classes(self, manager, dump, path):
        account = Account()
        account.owner, account.books, account.by_title = Book("Emma"), PersistentList([1, account]), OOBTree({"a": 1})
        account.plain, account.path = Pair(1, 2), pathlib.PurePosixPath("/a")
        manager.directory.store(account, id="account")
        for key, value in {
            "list": PersistentList([1, 2]),
            "tree": OOBTree({"a": Book("x")}),
            "empty": Account(),
        }.items():
            manager.directory.store(value, id=key)
        code = f"from kiokupy.cli.dump import main; main([{str(path)!r}, 'account', 'list', 'tree', 'empty'])"
        out = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True).stdout
        account_row, list_row, tree_row, empty_row = (row["content"] for row in rows(out))

        assert account_row["$class"] == f"{__name__}:Account"
        assert list(account_row["owner"]) == ["$ref"]
        assert account_row["books"]["$items"][0] == 1
        assert account_row["by_title"]["$pairs"] == {"a": 1}
        assert account_row["plain"]["$args"] == [1, 2]
        assert account_row["path"] == {"$class": "pathlib:PurePosixPath", "$value": "/a"}
        assert list_row["$items"] == [1, 2]
        assert list(tree_row["$pairs"]["a"]) == ["$ref"]
        assert empty_row == {"$class": f"{__name__}:Account"}


class TestValues:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, None),
            ([1, 2.5, True, "x"], [1, 2.5, True, "x"]),
            ((1, (2,)), [1, [2]]),
            (b"\x00\xff", {"$bytes": base64.b64encode(b"\x00\xff").decode()}),
            (bytearray(b"a"), {"$bytes": "YQ=="}),
            ({3, 1, 2}, {"$set": [1, 2, 3]}),
            (frozenset({(1, 2)}), {"$set": [[1, 2]]}),
            ({1: "a", (1,): "b"}, {"$items": [[1, "a"], [[1], "b"]]}),
            ({"$class": "x"}, {"$items": [["$class", "x"]]}),
            (Color.RED, {"$class": f"{__name__}:Color", "$args": [1]}),
            (Pair(1, "b"), {"$class": f"{__name__}:Pair", "$args": [1, "b"]}),
            (Shelf(a=1), {"$class": f"{__name__}:Shelf", "$pairs": {"a": 1}}),
            (Pile([1]), {"$class": f"{__name__}:Pile", "$items": [1]}),
            (Sized(3, unit="m"), {"$class": f"{__name__}:Sized", "$args": [3], "size": 3, "unit": "m", "$pairs": {"unit": "m"}}),
            (collections.deque([1], 3), {"$class": "collections:deque", "$args": [[], 3], "$items": [1]}),
            (collections.Counter("aa"), {"$class": "collections:Counter", "$args": [{"a": 2}]}),
            (collections.OrderedDict(a=1), {"$class": "collections:OrderedDict", "$pairs": {"a": 1}}),
            (types.SimpleNamespace(a=1), {"$class": "types:SimpleNamespace", "a": 1}),
            (datetime.date(2026, 11, 24), {"$class": "datetime:date", "$value": "2026-11-24"}),
            (datetime.time(1, 2), {"$class": "datetime:time", "$value": "01:02:00"}),
            (datetime.timedelta(1, 2), {"$class": "datetime:timedelta", "$value": "1 day, 0:00:02"}),
            (datetime.datetime(2026, 1, 2), {"$class": "datetime:datetime", "$value": "2026-01-02T00:00:00"}),
            (
                datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
                {"$class": "datetime:datetime", "$value": "2026-01-02T00:00:00+01:00"},
            ),
            (
                datetime.datetime(2026, 1, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Oslo")),
                {"$class": "datetime:datetime", "$value": "2026-01-02T00:00:00[Europe/Oslo]"},
            ),
            (decimal.Decimal("1.50"), {"$class": "decimal:Decimal", "$value": "1.50"}),
            (fractions.Fraction(1, 3), {"$class": "fractions:Fraction", "$value": "1/3"}),
            (uuid.UUID(int=5), {"$class": "uuid:UUID", "$value": "00000000-0000-0000-0000-000000000005"}),
            (pathlib.PurePosixPath("/a"), {"$class": "pathlib:PurePosixPath", "$value": "/a"}),
            (zoneinfo.ZoneInfo("Europe/Oslo"), {"$class": "zoneinfo:ZoneInfo", "$value": "Europe/Oslo"}),
        ],
    )  # fmt: skip
    def test_each_kind_of_value_has_its_form(self, manager, dump, value, expected):
        found = shown(dump, manager, value)
        if "deque" in str(expected) or "Fraction" in str(expected):  # their reduction differs between Python versions
            assert found["$class"] == expected["$class"]
        else:
            assert found == expected

    def test_slots_are_shown_as_attributes(self, manager, dump):
        slotted = Slotted()
        slotted.a = 1

        assert shown(dump, manager, slotted) == {"$class": f"{__name__}:Slotted", "a": 1}

    def test_attributes_that_are_no_plain_names_are_kept_apart(self, manager, dump):
        book = Book("x")
        book.__dict__["$class"] = "liar"

        assert shown(dump, manager, book)["$state"] == {"$items": [["title", "x"], ["$class", "liar"]]}

    def test_shared_and_cyclic_values_are_shown_once(self, manager, dump):
        shared = [1]
        shared.append(shared)
        book = Book("x", one=shared, two=shared)

        found = shown(dump, manager, book)

        assert found["one"] == [1, {"$same": "value.one"}]
        assert found["two"] == {"$same": "value.one"}

    def test_very_deep_values_are_cut_off(self, manager, dump):
        deep = []
        for _ in range(150):
            deep = [deep]

        assert '{"$deeper": "list"}' in json.dumps(shown(dump, manager, deep))

    def test_unhashable_stand_ins_in_sets_and_keys_are_shown(self):
        data = b"\x80\x04\x8f\x94(]\x94K\x01a\x90."  # a set with a list in it

        assert inspection.render(inert.read(data)) == {"$set": [[1]]}


class TestHostility:
    PAYLOAD = b"cos\nsystem\n(S'touch /tmp/kiokupy-was-here'\ntR."

    def put(self, manager, record):
        with manager.directory.new_unit() as unit:
            unit.root["entries"]["evil"] = Entry(record)
            unit.commit()

    def test_a_call_in_an_objects_record_is_shown_and_not_made(self, manager, dump, tmp_path):
        marker = tmp_path / "was-here"
        payload = pickle.dumps(None)[:-2] + b"cos\nsystem\n(X" + len(f"touch {marker}").to_bytes(4, "little")
        payload += f"touch {marker}".encode() + b"tR."
        self.put(manager, Record("x:X", None, payload, (), VALUE))
        _, out, _ = dump("evil")

        assert rows(out)[0]["content"] == {"$class": "os:system", "$args": [f"touch {marker}"]}
        assert not marker.exists()

    @pytest.mark.parametrize(
        ("payload", "expected"),
        [
            (b"c__builtin__\neval\n(S'1/0'\ntR.", {"$class": "__builtin__:eval", "$args": ["1/0"]}),
            (b"(S'1/0'\ni__builtin__\neval\n.", {"$class": "__builtin__:eval", "$args": ["1/0"]}),
            (b"(c__builtin__\neval\nS'1/0'\no.", {"$class": "__builtin__:eval", "$args": ["1/0"]}),
            (b"cbuiltins\ngetattr\n(cos\nS'system'\ntR(S'x'\ntR.".replace(b"cos\nS", b"cos\nx\nS"), None),
            (b"cdatetime\ndatetime\n}S'min'\nI5\nsb.", {"$class": "datetime:datetime", "min": 5}),
            (b"]}b.", []),
            (b"I5\n(tR.", {"$class": "a call of int"}),
            (b"Pos.system\n.", {"$class": "ZODB:reference", "$args": ["os.system"]}),
            (b"\x80\x02cx\ny\n(K\x01l}X\x01\x00\x00\x00aK\x01s\x92.", None),
            (b"ckiokupy.entry\nref\n(I9\nS'x'\ntR.", {"$class": "kiokupy.entry:ref", "$args": [9, "x"]}),
            (b"ckiokupy.entry\nrestore\n(I9\ntR.", {"$class": "kiokupy.entry:restore", "$args": [9]}),
            (b"cdecimal\nDecimal\n(S'x'\ntR.", {"$class": "decimal:Decimal", "$args": ["x"]}),
            (b"cdecimal\nDecimal\n(]tR.", {"$class": "decimal:Decimal", "$args": [[]]}),
            (b"cuuid\nUUID\n(tR.", {"$class": "uuid:UUID"}),
            (b"cdatetime\ndatetime\n(S'x'\nI1\ntR.", {"$class": "datetime:datetime", "$args": ["x", 1]}),
            (b"\x80\x04cx\ny\n)R(K\x01K\x02\x90.", {"$class": "x:y", "$items": [1, 2]}),
            (b"\x80\x04(K\x01]\x91.", {"$set": [1, []]}),
            (b"\x80\x04}]K\x01s.", {"$items": [[[], 1]]}),
            (b"\x80\x04K\x01)}\x92.", {"$class": "a call of int"}),
            (b"\x80\x04cx\ny\n)}\x92.", {"$class": "x:y"}),
            (b"\x80\x04cx\ny\n)RK\x01b.", {"$class": "x:y", "$state": 1}),
        ],
    )
    def test_what_a_hostile_pickle_says_is_noted_and_not_done(self, manager, dump, payload, expected):
        self.put(manager, Record("x:X", None, payload, (), VALUE))
        status, out, _ = dump("evil")

        assert status == 0
        assert expected is None or rows(out)[0]["content"] == expected

    @pytest.mark.parametrize(
        "payload",
        [b"", b"nonsense", b"I5\nI1\na.", b"I5\nI1\nI1\ns.", b"\x80\x02\x82\x01.", b"\x80\x02\x84\x01\x00\x00\x00.", b"\x80\x05\x96" + b"\xff" * 8],
    )  # fmt: skip
    def test_a_record_that_cannot_be_read_is_reported_and_the_dump_goes_on(self, manager, dump, payload):
        self.put(manager, Record("x:X", None, payload, (), VALUE))
        manager.directory.store({"a": 1}, id="fine")
        status, out, _ = dump("--all")

        assert status == 1
        assert [row.get("error", "")[:27] for row in rows(out)] == ["the pickle cannot be read (", ""]

    def test_items_that_are_none_are_reported(self, manager, dump):
        self.put(manager, Record("x:X", None, pickle.dumps((None, None, 5)), (), ITEMS))
        status, out, _ = dump("evil")

        assert status == 1
        assert "not as kiokupy writes it" in rows(out)[0]["error"]

    def test_a_head_that_is_not_as_kiokupy_writes_it_is_shown(self, manager, dump):
        self.put(manager, Record("x:X", pickle.dumps([1]), pickle.dumps({"a": 1}), (), NEW))
        assert rows(dump("evil")[1])[0]["content"] == {"$class": "x:X", "$args": [[1]], "a": 1}

        self.put(manager, Record("x:X", pickle.dumps(((2,), {})), pickle.dumps(None), (), CALL))
        assert rows(dump("evil")[1])[0]["content"] == {"$class": "x:X", "$args": [2]}

    def test_a_session_record_that_cannot_be_read_is_reported(self, manager, dump):
        manager.create()
        manager.create()
        with manager.directory.new_unit() as unit:
            for entry, head in zip(unit.root["sessions"].values(), (b"", pickle.dumps(((1,), {}))), strict=True):
                entry.record = entry.record._replace(head=head)
            unit.commit()
        status, out, _ = dump()

        assert status == 1
        assert all("error" in row for row in rows(out))
        assert "! " in dump("--format", "table")[1]

    def test_a_hostile_record_of_zodb_is_not_run(self, manager, dump, tmp_path):
        marker = tmp_path / "was-here"
        self.put(manager, Record("x:X", None, pickle.dumps(1), (), VALUE))
        with manager.directory.new_unit() as unit:
            oid = unit.root["entries"]["evil"]._p_oid
        manager.close()
        self.overwrite(tmp_path / "store.fs", oid, f"cposix\nsystem\n(S'touch {marker}'\ntR.".encode())
        status, out, _ = dump("--all")

        assert status == 1
        assert "error" in rows(out)[0]
        assert not marker.exists()

    def overwrite(self, path, oid, state, whole=False):
        """Write a record of ZODB by hand."""
        from ZODB.Connection import TransactionMetaData  # this test alone writes past kiokupy
        from ZODB.FileStorage import FileStorage
        from ZODB.utils import load_current

        storage = FileStorage(str(path))
        _, serial = load_current(storage, oid)
        txn = TransactionMetaData()
        storage.tpc_begin(txn)
        storage.store(oid, serial, state if whole else b"ckiokupy.entry\nEntry\n." + state, "", txn)
        storage.tpc_vote(txn)
        storage.tpc_finish(txn)
        storage.close()

    def test_escape_sequences_do_not_reach_the_terminal(self, manager, dump):
        session = manager.create()
        session.principal, session["x"] = "\x1b[31mred", "\x1b[2J"
        session.flush()

        assert "\x1b" not in dump("--format", "table")[1] + dump(session.id, "--format", "table")[1]


class TestMasking:
    @pytest.mark.parametrize(
        "key",
        ["password", "userPassword", "PASSWD", "api_key", "apiKey", "APIKey", "access-key", "csrf", "csrftoken", "Authorization",
         "credit_card", "client_secret", "otp", "PIN", "session_id", "cookie", "sessionid", "privatekey", "API keys", "pins"],
    )  # fmt: skip
    def test_keys_that_name_secrets_are_recognized(self, key):
        assert is_secret(key)

    @pytest.mark.parametrize("key", ["monkey", "key", "card", "spinner", "author", "passage", "id", "", "address"])
    def test_keys_that_do_not_are_left(self, key):
        assert not is_secret(key)

    def test_secrets_are_masked_at_every_depth_unless_revealed(self, manager, dump):
        session = manager.create()
        session["a"] = [{"password": "p1", 5: 1}, Book("x", token="p2")]  # not a secret
        session["csrf"] = "p3"
        session["odd"] = {1: 2, "password": "p4"}
        session["raw"] = {b"password": "p5", b"name": "n5", (1,): 2}
        session.flush()

        assert not any(secret in dump()[1] for secret in ("p1", "p2", "p3", "p4", "p5"))
        assert all(secret in dump("--reveal")[1] for secret in ("p1", "p2", "p3", "p4", "p5"))
        assert "n5" in dump()[1]
        assert masked(["password", "x"]) == ["password", "***"]


class TestFormats:
    def test_json_is_one_array(self, manager, dump):
        assert json.loads(dump("--format", "json")[1]) == []
        manager.create()
        manager.create()

        assert len(json.loads(dump("--format", "json")[1])) == 2

    def test_yaml_is_one_list(self, manager, dump):
        assert yaml.safe_load(dump("--format", "yaml")[1]) == []
        manager.create()
        manager.create()

        assert len(yaml.safe_load(dump("--format", "yaml")[1])) == 2

    def test_yaml_without_pyyaml_says_what_to_install(self, manager, dump, monkeypatch):
        monkeypatch.setitem(sys.modules, "yaml", None)
        status, _, err = dump("--format", "yaml")

        assert status == 2
        assert "pip install 'kiokupy[yaml]'" in err

    def test_the_table_fits_the_terminal(self, manager, dump, monkeypatch):
        monkeypatch.setenv("COLUMNS", "100")
        session = manager.create()
        session["text"], session.principal = "x" * 500, "someone-with-a-long-name"
        session.flush()
        manager.directory.store(Book("y" * 2000), id="emma")
        manager.directory.store(Book("y"), id="unrooted", root=False)
        lines = dump("--all", "--format", "table")[1].splitlines()

        assert max(map(len, lines)) <= 100
        assert lines[0].split() == ["SESSION", "PRINCIPAL", "CREATED", "USED", "EXPIRES", "SIZE", "CONTENT"]
        assert "1 min ago" in lines[1]
        assert "in 29 min" in lines[1]
        assert "…" in lines[1]
        assert lines[2].split() == ["OBJECT", "CLASS", "ROOT", "SIZE", "CONTENT"]
        assert "2.0 kB" in lines[3]
        assert lines[4].split()[2] == "no"

    @pytest.mark.parametrize("width", [80, 40])
    def test_a_narrow_table_leaves_columns_out(self, manager, dump, monkeypatch, width):
        monkeypatch.setenv("COLUMNS", str(width))
        session = manager.create()
        session["text"] = "x" * 500
        session.flush()
        manager.directory.store(Book("y" * 2000), id="e" * 200)
        lines = dump("--all", "--format", "table")[1].splitlines()

        assert max(map(len, lines)) <= width
        assert "CREATED" not in lines[0]
        assert width == 40 or '{"text": "xx' in lines[1]

    def test_an_empty_store_says_so_beside_the_table(self, manager, dump):
        assert dump("--format", "table") == (0, "", "kiokupy-dump: the store holds nothing of that kind\n")

    def test_one_session_is_shown_whole(self, manager, dump):
        session = manager.create()
        session["text"] = "x" * 500
        session.flush()

        assert "x" * 500 in dump(session.id, "--format", "table")[1]

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0 s ago"), (-59, "59 s ago"), (3599, "in 59 min"), (-7200, "2 h ago"), (86400 * 3, "in 3 d")],
    )
    def test_ages_are_said_as_people_do(self, seconds, text):
        moment = datetime.datetime.fromtimestamp(NOW + seconds, datetime.UTC).isoformat()

        assert formats.age(moment, NOW) == text


class TestIds:
    def test_options_may_stand_before_and_between_ids(self, manager, dump):
        manager.directory.store({"a": 1}, id="a")
        manager.directory.store({"b": 1}, id="b")

        assert [row["object"] for row in rows(dump("--format", "jsonl", "a", "--reveal", "b")[1])] == ["a", "b"]

    def test_an_id_that_may_be_of_a_session_is_in_no_error(self, manager, dump, capsys, path, monkeypatch):
        secret = "Zq9_" * 10 + "xyz"
        monkeypatch.setattr("kiokupy.sessions.ids.new_id", lambda: secret)
        manager.create()
        for arguments in ((f"-{secret[1:]}",), (secret[:-1],), (secret + '"',), (secret, "x")):
            _, out, err = dump(*arguments)
            assert secret[1:30] not in out + err
        assert secret not in dump(target=secret)[2]
        for arguments in ([str(path), "--format", secret], [str(path), "--limit", secret], [str(path), f"--{secret}"]):
            with pytest.raises(SystemExit):
                main(arguments)
            assert secret[1:30] not in capsys.readouterr().err


class TestDamage:
    """Whatever one record holds, the others are shown, and the exit status is 1."""

    @pytest.mark.parametrize(
        "record",
        [
            Record("x:X", None, pickle.dumps(5), (), 8),
            Record("x:X", None, pickle.dumps((None, 5, 5)), (), 8),
            Record("x:X", None, pickle.dumps(5), (), "flags"),
            Record(7, None, pickle.dumps(5), (), VALUE),
            Record("x:X", 7, pickle.dumps(5), (), VALUE),
            Record("x:X", None, 7, (), VALUE),
            Record("x:X", None, pickle.dumps(5), 7, VALUE),
            Record("x:X", None, pickle.dumps(5), (7,), VALUE),
        ],
    )
    def test_an_object(self, manager, dump, record):
        with manager.directory.new_unit() as unit:
            unit.root["entries"]["bad"] = Entry(record)
            unit.commit()
        manager.directory.store({"a": 1}, id="fine")
        status, out, _ = dump("--all")

        assert status == 1
        assert [(row["object"], "error" in row) for row in rows(out)] == [("bad", True), ("fine", False)]
        assert dump("--class", "*nothing*")[:2] == (0, "")

    def test_what_is_no_entry_under_a_key_that_is_no_id(self, manager, dump):
        with manager.directory.new_unit() as unit:
            unit.root["sessions"]["\x1b[2J"] = 7
            unit.root["entries"][b"\x00"] = Entry(Record("x:X", None, pickle.dumps("found"), (), VALUE))
            unit.commit()
        status, out, _ = dump("--all")
        session, entry = rows(out)

        assert status == 1
        assert session == {"session": "\x1b[2J", "error": "'int' object has no attribute 'record'"}
        assert (entry["object"], entry["content"]) == ({"$bytes": "AA=="}, "found")
        assert "\x1b" not in dump("--all", "--format", "table")[1]

    def test_a_principal_that_is_no_text(self, manager, dump):
        manager.create()
        with manager.directory.new_unit() as unit:
            for entry in unit.root["sessions"].values():
                entry.record = entry.record._replace(head=b"((I1\nI1\nI1\ncos\nsystem\nt}t.")
            unit.commit()

        assert rows(dump()[1])[0]["principal"] == {"$class": "os:system"}

    def test_an_error_does_not_reach_the_terminal_with_escape_sequences(self, manager, dump):
        with manager.directory.new_unit() as unit:
            unit.root["entries"]["bad"] = Entry(Record("x:X", None, b"\x80\x04cx\x1b\xff\ny\n.", (), VALUE))
            unit.commit()
        for arguments in (("--all",), ("bad",), ("nothing\x1b[2J",)):
            _, out, err = dump(*arguments, "--format", "table")
            assert "\x1b" not in out + err

    def test_a_persistent_object_that_is_gone(self, manager, dump, path):
        account = Account()
        account.books = PersistentList([1])
        manager.directory.store(account, id="account")
        manager.directory.store({"a": 1}, id="fine")
        with manager.directory.new_unit() as unit:
            account, gone = unit.root["entries"]["account"].record.state, b"\x00" * 7 + b"\xee"
            account._p_activate()
            oid = account._p_oid
        manager.close()
        state = f"c{__name__}\nAccount\n.".encode() + b"\x80\x03}X\x05\x00\x00\x00booksC\x08" + gone
        TestHostility().overwrite(path, oid, state + b"cpersistent.list\nPersistentList\n\x86Qs.", whole=True)
        status, out, _ = dump("--all")

        assert status == 1
        assert "is missing" in rows(out)[0]["error"]
        assert "error" not in rows(out)[1]

    def test_a_root_record_that_is_not_as_kiokupy_writes_it(self, manager, dump):
        with manager.directory.new_unit() as unit:
            unit.root["sessions"] = 7
            unit.commit()
        status, _, err = dump()

        assert status == 2
        assert "its root record is not as kiokupy writes it" in err


class TestOutput:
    def test_what_is_no_file_is_not_replaced(self, manager, dump, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for target in (tmp_path, tmp_path / "pipe"):
            status, _, err = dump("--output", str(target), "--force")
            assert status == 2
            assert "is no regular file" in err

    def test_a_link_is_followed(self, manager, dump, tmp_path):
        (tmp_path / "real").write_text("old")
        (tmp_path / "link").symlink_to(tmp_path / "real")
        assert dump("--output", str(tmp_path / "link"), "--force")[0] == 0

        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "real").read_text() == ""

    def test_it_writes_to_any_stream_that_stands_for_standard_output(self, manager, path):
        manager.create()
        with contextlib.redirect_stdout(io.StringIO()) as stream:
            assert main([str(path)]) == 0

        assert len(rows(stream.getvalue())) == 1

    def test_a_file_is_written_whole_and_for_its_owner_only(self, manager, dump, tmp_path):
        manager.create()
        target = tmp_path / "out.json"
        assert dump("--output", str(target))[:2] == (0, "")

        assert len(rows(target.read_text())) == 1
        assert target.stat().st_mode & 0o777 == 0o600

    def test_a_file_is_overwritten_with_force_only(self, manager, dump, tmp_path):
        target = tmp_path / "out.json"
        target.write_text("mine")
        status, _, err = dump("--output", str(target))

        assert (status, target.read_text()) == (2, "mine")
        assert "Use --force" in err
        assert dump("--output", str(target), "--force")[0] == 0
        assert target.read_text() == ""

    def test_a_dump_that_fails_leaves_the_old_file_and_no_litter(self, manager, dump, tmp_path, monkeypatch):
        target = tmp_path / "folder" / "out.yaml"
        target.parent.mkdir()
        target.write_text("mine")
        monkeypatch.setitem(sys.modules, "yaml", None)
        status, _, _ = dump("--output", str(target), "--force", "--format", "yaml")

        assert status == 2
        assert [path.read_text() for path in target.parent.iterdir()] == ["mine"]

    def test_a_file_that_cannot_be_written_is_an_error(self, manager, dump, tmp_path):
        status, _, err = dump("--output", str(tmp_path / "gone" / "out.json"))

        assert status == 2
        assert "cannot be written" in err


class TestBehaviour:
    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("gone.fs", "there is no store here"),
            ("Hash", "lives in the memory"),
            ("Nash", "there is no store here"),
            ("mongodb://x", "no URL scheme"),
            ("file:path=", "needs the option path"),
            (__file__, "this is no FileStorage"),
        ],
    )
    def test_a_wrong_target_is_an_error_of_status_2(self, dump, tmp_path, monkeypatch, target, message):
        monkeypatch.chdir(tmp_path)
        status, out, err = dump(target=target)

        assert (status, out) == (2, "")
        assert message in err
        assert "Traceback" not in err

    @pytest.mark.parametrize(
        "arguments", [[], ["x", "--format", "xml"], ["x", "--limit", "-1"], ["x", "--limit", "many"]]
    )
    def test_wrong_arguments_are_an_error_of_status_2(self, capsys, arguments):
        with pytest.raises(SystemExit) as caught:
            main(arguments)

        assert caught.value.code == 2

    def test_it_reads_beside_the_process_that_writes(self, manager, dump):
        session = manager.create()
        session["n"] = 1
        session.flush()
        assert rows(dump()[1])[0]["content"] == {"n": 1}
        session["n"] = 2
        session.flush()

        assert rows(dump()[1])[0]["content"] == {"n": 2}

    def test_it_reads_every_lasting_backend(self, lasting_place, capsys):
        with lasting_place.connect() as directory:
            kiokupy.SessionManager(directory).create()
        target = lasting_place.target if lasting_place.name != "File" else str(lasting_place.options["path"])
        if lasting_place.options.get("keep_history"):
            target += "?keep_history=1"

        assert main([target]) == 0
        assert len(rows(capsys.readouterr().out)) == 1

    def test_a_settings_file_names_the_store(self, manager, dump, tmp_path):
        manager.create()
        (tmp_path / "store.toml").write_text(f'backend = "File"\npath = "{tmp_path}/store.fs"\n')

        assert len(rows(dump(target=tmp_path / "store.toml")[1])) == 1

    def command(self, *arguments, **options):
        return subprocess.Popen([sys.executable, "-m", "kiokupy.cli.dump", *map(str, arguments)], **options)

    def fill(self, manager):
        """Store more than any pipe holds."""
        for _ in range(30):
            session = manager.create()
            session["text"] = "x" * 200_000
            session.flush()

    def test_a_full_disk_is_an_error(self, manager, path):
        manager.create()
        with (
            open("/dev/full", "w") as full,
            self.command(path, stdout=full, stderr=subprocess.PIPE, text=True) as process,
        ):
            assert process.wait(30) == 2
            assert process.stderr.read() == "kiokupy-dump: [Errno 28] No space left on device\n"

    @pytest.mark.parametrize("form", ["table", "json", "jsonl", "yaml"])
    def test_a_narrow_encoding_is_no_error(self, manager, path, form):
        session = manager.create()
        session["name"], session.principal = "Zoë " + "x" * 500, "Zoë"
        session.flush()
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with self.command(path, "--format", form, env=environment, **pipes) as process:
            out, err = process.communicate(timeout=30)

        assert (process.returncode, err) == (0, "")
        if form != "table":
            row = yaml.safe_load(out)
            assert (row[0] if isinstance(row, list) else row)["principal"] == "Zoë"

    def test_it_does_not_keep_what_it_has_shown(self, manager, path):
        with manager.directory.new_scope() as scope:
            for number in range(2500):
                scope.insert({"n": number})
        with contextlib.closing(_open(str(path))) as database, database.open() as unit:
            shown = Rows(unit, now=NOW, reveal=False).objects()
            loaded = [unit.connection._cache.cache_non_ghost_count for _ in shown]

        assert len(loaded) == 2500
        assert max(loaded) < 2000

    def test_a_closed_pipe_ends_it_quietly(self, manager, path):
        self.fill(manager)
        with self.command(path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.read(10)
            process.stdout.close()
            assert (process.wait(30), process.stderr.read()) == (141, b"")

    def test_ctrl_c_ends_it_quietly(self, manager, path):
        self.fill(manager)
        # What a shell starts in the background ignores the signal, and so would the command if tests are run there.
        with self.command(
            path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as process:
            process.stdout.read(10)  # it is in the middle of writing now
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)  # what it has in hand at its end wants to be read
            assert (process.returncode, errors) == (130, b"")

    def test_ctrl_c_before_there_is_anything_to_show_ends_it_quietly_too(self, path, monkeypatch, capsys):
        def interrupt(target):
            raise KeyboardInterrupt

        monkeypatch.setattr("kiokupy.cli.dump._open", interrupt)

        assert main([str(path)]) == 130
        assert capsys.readouterr() == ("", "")

    def test_a_table_is_the_default_on_a_terminal(self, manager, path):
        manager.create()
        ours, theirs = pty.openpty()
        with self.command(path, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            process.wait(30)
        text = os.read(ours, 100_000).decode()
        os.close(ours)

        assert text.startswith("SESSION")

    def test_version_and_help(self, capsys):
        for option in ("--version", "--help"):
            with pytest.raises(SystemExit) as caught:
                main([option])
            assert caught.value.code == 0
        assert "kiokupy-dump var/shop.fs" in capsys.readouterr().out


def test_every_opcode_that_runs_something_is_replaced():
    """A new Python may bring new opcodes; each one that calls or changes an object must be looked at."""
    ours = inert._Reader.dispatch
    theirs = pickle._Unpickler.dispatch
    replaced = {op.name for op in pickletools.opcodes if ours[ord(op.code)] is not theirs[ord(op.code)]}

    assert replaced == {
        "REDUCE", "NEWOBJ", "NEWOBJ_EX", "BUILD", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "FROZENSET",
        "EXT1", "EXT2", "EXT4", "DICT", "BYTEARRAY8", "EMPTY_SET",
    }  # fmt: skip
    assert {op.name for op in pickletools.opcodes if op.proto > 5} == set()
