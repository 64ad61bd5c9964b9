"""The type map: what may be stored, how, and what a record may name."""

import collections
import datetime
import enum
import operator
import os
import sys
from email.message import Message

import graph_classes
import pytest
from BTrees.OOBTree import OOBTree
from graph_classes import Account, Bag, Box, Colour, Employee, Money, Pair, Person, Rights, Thing, Word
from persistent.mapping import PersistentMapping

from kiokupy.errors import NotLoadable, TargetError
from kiokupy.rules import Keep, Rule, first_class, intrinsic, name_of
from kiokupy.typemap import TypeMap


def keep(typemap, cls):
    rule = typemap.rule_for(cls)
    return None if rule is None else rule.keep


@pytest.mark.parametrize("cls", [datetime.date, collections.Counter, dict, int, range, bytearray])
def test_plain_data_types_are_intrinsic(cls):
    assert keep(TypeMap(), cls) is Keep.INTRINSIC


@pytest.mark.parametrize("cls", [PersistentMapping, OOBTree])
def test_the_containers_of_zodb_are_first_class(cls):
    assert keep(TypeMap(), cls) is Keep.FIRST_CLASS


@pytest.mark.parametrize("cls", [Person, Account, type(None), type(len), os._Environ, Colour])
def test_everything_else_is_refused(cls):
    assert TypeMap().rule_for(cls) is None


def test_an_allowed_class_is_first_class_unless_its_objects_are_values():
    typemap = TypeMap([Person, Bag, Account, Colour, Rights, Pair, Word])
    assert {keep(typemap, cls) for cls in (Person, Bag, Account)} == {Keep.FIRST_CLASS}
    assert {keep(typemap, cls) for cls in (Colour, Rights, Pair, Word)} == {Keep.INTRINSIC}


def test_a_subclass_is_not_covered_unless_the_rule_says_so():
    assert TypeMap([Person]).rule_for(Employee) is None
    typemap = TypeMap([first_class(Person, subclasses=True, aliases=("old:Person",))])
    assert typemap.rule_for(Employee).cls is Employee
    assert typemap.rule_for(Employee).aliases == ()


def test_a_module_name_covers_the_classes_defined_in_it_and_below_and_no_others():
    assert keep(TypeMap(["graph_classes"]), Person) is Keep.FIRST_CLASS
    assert TypeMap(["graph_class"]).rule_for(Person) is None
    assert TypeMap(["kiokupy"]).rule_for(enum.Enum) is None
    assert keep(TypeMap(["email."]), Message) is Keep.FIRST_CLASS


def test_a_refusal_is_forgotten_when_the_class_is_allowed():
    typemap = TypeMap()
    for cls, item in [(Person, Person), (Box, "graph_classes"), (Message, first_class(Message, subclasses=True))]:
        assert typemap.rule_for(cls) is None
        typemap.allow(item)
        assert keep(typemap, cls) is Keep.FIRST_CLASS


@pytest.mark.parametrize("asked_before", [False, True])
def test_the_last_word_about_a_class_counts(asked_before):
    typemap = TypeMap([first_class(Person, subclasses=True), "graph_classes"])
    if asked_before:
        assert keep(typemap, Employee) is Keep.FIRST_CLASS
    typemap.allow(intrinsic(Person, subclasses=True))
    assert keep(typemap, Person) is keep(typemap, Employee) is Keep.INTRINSIC


@pytest.mark.parametrize("item", [7, "", " . ", None, Person("a")])
def test_what_is_no_class_rule_or_module_cannot_be_allowed(item):
    with pytest.raises(TargetError, match="Give a class, a Rule, or the name of a module"):
        TypeMap([item])


def test_a_rule_is_about_a_class():
    with pytest.raises(TargetError, match="about a class"):
        Rule(Person("a"))


@pytest.mark.parametrize("half", ["collapse", "expand"])
def test_a_rule_has_both_halves_of_a_pair_or_neither(half):
    with pytest.raises(TargetError, match="Give both, or neither"):
        first_class(Money, **{half: str})


def test_a_record_may_name_what_the_map_names():
    typemap = TypeMap([Person, first_class(Box, aliases=("old.module:Crate.Inner",))])
    assert typemap.find("graph_classes", "Person") is Person
    assert typemap.class_named("old.module:Crate.Inner") is Box
    assert typemap.find("builtins", "dict") is dict
    assert typemap.find("BTrees.OOBTree", "OOBTree") is OOBTree
    assert typemap.find("persistent.mapping", "PersistentMapping") is PersistentMapping
    assert TypeMap(["graph_classes"]).find("graph_classes", "Person") is Person


def test_a_loaded_class_may_be_covered_by_a_rule_for_its_base_and_is_not_imported_for_it():
    typemap = TypeMap([first_class(Person, subclasses=True)])
    assert typemap.find("graph_classes", "Employee") is Employee
    with pytest.raises(NotLoadable, match="cannot be imported"):
        typemap.find("antigravity", "Employee")
    assert "antigravity" not in sys.modules
    with pytest.raises(NotLoadable):
        typemap.find("graph_classes", "Thing")


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"), ("builtins", "eval"), ("builtins", "getattr"), ("posix", "system"), ("graph_classes", "Thing"),
        ("persistent.mapping", "collections"), ("BTrees.OOBTree", "__name__"),
        ("copyreg", "_reconstructor"), ("kiokupy.entry", "Entry"), ("", ""), ("graph_classes", "Person.__init__"),
    ],
)  # fmt: skip
def test_a_record_may_name_nothing_else(module, name):
    with pytest.raises(NotLoadable) as caught:
        TypeMap([Person]).find(module, name)
    assert caught.value.class_name == f"{module}:{name}"


@pytest.mark.parametrize(
    "name", ["typing", "Persistent", "collections", "Person.__init__", "CLASSES", "T", "typing.Any", "no"]
)
def test_a_module_name_does_not_let_through_what_the_module_imported(name):
    assert name == "no" or operator.attrgetter(name)(graph_classes) is not None
    with pytest.raises(NotLoadable):
        TypeMap(["graph_classes"]).find("graph_classes", name)


def test_a_module_that_is_gone_is_a_named_error():
    with pytest.raises(NotLoadable, match="cannot be imported"):
        TypeMap(["gone.module"]).find("gone.module.models", "Person")


def test_the_error_for_an_unnamed_class_gives_the_line_that_allows_it():
    with pytest.raises(NotLoadable, match=r"connect\(..., allow_classes=\[Thing\]\)"):
        TypeMap().class_named(name_of(Thing))


def test_the_tests_that_come_with_zodbs_containers_are_not_imported():
    with pytest.raises(NotLoadable):
        TypeMap().find("persistent.tests.test_mapping", "TestPersistentMapping")

    assert "persistent.tests.test_mapping" not in sys.modules
