"""Values: what comes back is what was stored, to the bit."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import ipaddress
import pathlib
import random
import types
import uuid
import zoneinfo
from array import array
from typing import Any

from kiokupy.directory import Directory
from kiokupy.testing.people import Person, Place, Role, Tags

_EVERY_BYTE = bytes(range(256))

#: Text that encodings, collations and terminators of SQL databases get wrong.
_TEXTS = [
    "",
    "\0",
    "a\0b",
    "é",
    "e\u0301",
    "ß",
    "\u017f",
    "İ",
    "日本語",
    "\U0001f600",
    "\u202e",
    "\ufeff",
    "\ud7ff",
    " ",
    "'\"\\%_",
]

_VALUES: dict[str, Any] = {
    "none": None,
    "true": True,
    "integers": [0, -1, 2**31, -(2**63), 2**64, 10**100],
    "floats": [0.1, -0.0, 5e-324, 1.7976931348623157e308, float("inf")],
    "complex": 1 - 2j,
    "texts": _TEXTS,
    "bytes": [b"", b"\0", _EVERY_BYTE, "é".encode(), "é".encode("latin-1")],
    "bytearray": bytearray(_EVERY_BYTE),
    "containers": ([1, [2]], (1, (2,)), {"a": {"b": ()}}, {1, "a"}, frozenset([1, (2,)])),
    "keys": {key: number for number, key in enumerate(_TEXTS)},
    "date": datetime.date(1970, 1, 1),
    "datetime": datetime.datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
    "offset": datetime.datetime(1, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(minutes=-90))),
    "time": datetime.time(23, 59, 59, 999999),
    "timedelta": datetime.timedelta(days=-1, microseconds=1),
    "decimal": decimal.Decimal("-0.10"),
    "fraction": fractions.Fraction(1, 3),
    "uuid": uuid.UUID(int=2**128 - 1),
    "path": pathlib.PurePosixPath("/a/é"),
    "addresses": [ipaddress.ip_address("::1"), ipaddress.ip_network("10.0.0.0/8")],
    "ordered": collections.OrderedDict(b=1, a=2),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "counter": collections.Counter("abba"),
    "deque": collections.deque([1, 2], maxlen=3),
    "chainmap": collections.ChainMap({"a": 1}, {"b": 2}),
    "namespace": types.SimpleNamespace(a=1),
    "array": array("d", [0.5, -1.0]),
    "named tuple": Place("main", 7),
    "enum": Role.COOK,
    "range": range(0, 10, 3),
}


class Values:
    """Tests of single objects' content."""

    def test_values_of_every_kind_come_back_equal_and_of_their_class(self, directory: Directory) -> None:
        directory.store(Person("a", **_VALUES), id="x")
        found = directory.get("x").__dict__
        assert {name: found[name] for name in _VALUES} == _VALUES
        assert {name: type(found[name]) for name in _VALUES} == {name: type(each) for name, each in _VALUES.items()}
        assert repr(found["floats"]) == repr(_VALUES["floats"])  # -0.0 == 0.0
        assert found["datetime"].fold == 1
        assert found["deque"].maxlen == 3
        assert found["defaultdict"]["new"] == []

    def test_bytes_come_back_exactly_in_every_place(self, directory: Directory) -> None:
        directory.store({_EVERY_BYTE: _EVERY_BYTE, "list": [_EVERY_BYTE]}, id="x")
        assert directory.get("x") == {_EVERY_BYTE: _EVERY_BYTE, "list": [_EVERY_BYTE]}

    def test_text_comes_back_exactly_also_as_an_id(self, directory: Directory) -> None:
        ids = [text for text in _TEXTS if text]
        with directory.new_scope() as scope:
            for text in ids:
                scope.store(Person(text, **{text: text}), id=text)
        found = directory.lookup_many(ids)
        assert list(found) == ids
        assert [vars(person) for person in found.values()] == [{"name": text, text: text} for text in ids]
        assert directory.lookup("E\u0301") is directory.lookup("A\0B") is None

    def test_a_large_object_comes_back_exactly(self, directory: Directory) -> None:
        content = random.Random(0).randbytes(3 << 20)
        directory.store(Person("a", content=content, text="é" * (1 << 20)), id="x")
        found = directory.get("x")
        assert found.content == content
        assert found.text == "é" * (1 << 20)

    def test_containers_and_their_subclasses_can_be_stored_under_an_id(self, directory: Directory) -> None:
        tags = Tags(["a", "b"])
        tags.origin = "here"
        stored = {"dict": {"a": [1]}, "list": [1, {2}], "set": {1, 2}, "tags": tags}
        with directory.new_scope() as scope:
            for id, obj in stored.items():
                scope.store(obj, id=id)
        assert directory.lookup_many(stored) == stored
        assert directory.get("tags").origin == "here"
        with directory.new_scope() as scope:
            scope.get("dict")["a"].append(2)
            scope.get("list").clear()
            scope.get("set").add(3)
            scope.get("tags").origin = "there"
        assert directory.lookup_many(["dict", "list", "set"]) == {"dict": {"a": [1, 2]}, "list": [], "set": {1, 2, 3}}
        assert directory.get("tags").origin == "there"
