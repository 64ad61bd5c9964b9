"""Lazy fields: values that are loaded when they are touched."""

import copy
import dataclasses
import pickle
from typing import Any

import pytest
from graph_stores import CountingStorage, directory_in, directory_on

from kiokupy import lazy
from kiokupy.errors import NotStorable, ScopeClosed
from kiokupy.maintenance import gc


class Picture:
    photo = lazy()
    title = lazy(default="untitled")
    tags = lazy(default_factory=list)

    def __init__(self, name, **fields):
        self.name = name
        for field, value in fields.items():
            setattr(self, field, value)


@dataclasses.dataclass
class Document:
    name: str
    text: str = lazy(default="")
    parts: list[Any] = lazy(default_factory=list)  # noqa: RUF009  # a descriptor, not a shared default


class NoRoom:
    __slots__ = ("__weakref__",)

    field = lazy()


CLASSES = [Picture, Document, NoRoom]


@pytest.fixture
def storage():
    return CountingStorage()


@pytest.fixture
def directory(storage):
    with directory_on(storage, CLASSES) as directory:
        yield directory


def entries(directory):
    with directory.new_unit() as unit:
        return len(unit.root["entries"])


def test_a_lazy_value_is_loaded_when_it_is_touched_and_not_before(directory, storage):
    directory.store(Picture("Ada", photo=b"x" * 100_000), id="p")
    with directory.new_scope(), directory.new_scope() as scope:  # the second one on a connection of its own
        picture = scope.get("p")
        assert picture.name == "Ada"
        before = len(storage.read)
        assert picture.name == "Ada"
        assert len(storage.read) == before
        assert picture.photo == b"x" * 100_000
        assert len(storage.read) > before
        after = len(storage.read)
        assert picture.photo
        assert len(storage.read) == after


def test_what_is_stored_without_being_touched_is_not_loaded(directory, storage):
    directory.store(Picture("Ada", photo=b"photo"), id="p")
    with directory.new_scope() as scope:
        picture = scope.get("p")
        picture.name = "Ada L."
        scope.store(picture)
        scope.commit()
        assert type(picture.__dict__["photo"]).__mro__[1].__name__ == "Holder"  # a ghost of one
    with directory.new_scope() as scope:
        assert (scope.get("p").name, scope.get("p").photo) == ("Ada L.", b"photo")


def test_changes_inside_a_lazy_value_are_noticed(directory):
    directory.store(Picture("Ada", photo={"pixels": [1]}), id="p")
    with directory.new_scope() as scope:
        scope.get("p").photo["pixels"].append(2)
    with directory.new_scope() as scope:
        assert scope.get("p").photo == {"pixels": [1, 2]}


def test_a_lazy_value_is_assigned_and_deleted(directory):
    directory.store(Picture("Ada", photo=1, title="t"), id="p")
    with directory.new_scope() as scope:
        picture = scope.get("p")
        picture.photo = 2
        del picture.title
        scope.abort()
        assert (picture.photo, picture.title) == (1, "t")
        picture.photo = 2
        del picture.title
    with directory.new_scope() as scope:
        picture = scope.get("p")
        assert (picture.photo, picture.title) == (2, "untitled")
        with pytest.raises(AttributeError, match="title"):
            del picture.title


def test_a_lazy_field_without_a_value_has_its_default_or_is_no_attribute(directory):
    picture = Picture("Ada")
    assert picture.title == "untitled"
    assert not hasattr(picture, "photo")
    with pytest.raises(AttributeError, match="'Picture' object has no attribute 'photo'"):
        assert picture.photo
    picture.tags.append("new")
    directory.store(picture, id="p")
    with directory.new_scope() as scope:
        assert (scope.get("p").tags, scope.get("p").title) == (["new"], "untitled")


def test_a_default_that_is_made_while_an_object_is_looked_at_keeps_what_is_put_into_it(directory):
    directory.store(Picture("Ada"), id="p")
    with directory.new_scope() as scope:
        scope.get("p").tags.append("late")
    with directory.new_scope() as scope:
        assert scope.get("p").tags == ["late"]


def test_the_class_has_the_descriptor():
    assert type(Picture.photo).__name__ == "Lazy"


def test_dataclasses_may_have_lazy_fields(directory):
    directory.store([Document("a", "text"), Document("b")], id="d")
    with directory.new_scope() as scope:
        first, second = scope.get("d")
        assert first == Document("a", "text")
        assert (second.text, second.parts) == ("", [])
        second.parts.append(1)
        second.text = "more"
    with directory.new_scope() as scope:
        assert scope.get("d")[1] == Document("b", "more", [1])


def test_a_class_without_a_dict_has_no_lazy_fields():
    with pytest.raises(AttributeError, match="__dict__"):
        NoRoom().field = 1


def test_an_attribute_that_was_stored_before_it_was_lazy_is_read_as_it_is(directory):
    picture = Picture("Ada")
    picture.__dict__["photo"] = b"old"
    directory.store(picture, id="p")
    with directory.new_scope() as scope:
        assert scope.get("p").photo == b"old"
        scope.get("p").photo = b"new"
    with directory.new_scope() as scope:
        assert scope.get("p").photo == b"new"


def test_a_lazy_value_that_was_loaded_stays_after_the_scope_and_one_that_was_not_raises(directory):
    directory.store(Picture("Ada", photo=b"photo", title="t"), id="p")
    with directory.new_scope() as scope:
        picture = scope.get("p")
        assert picture.photo == b"photo"
    assert picture.photo == b"photo"
    with pytest.raises(ScopeClosed, match=r"the unloaded title of a test_fields:Picture was used after its scope"):
        assert picture.title


def test_one_shot_verbs_do_not_load_lazy_values_and_do_not_lose_them(directory):
    directory.store(Picture("Ada", photo=[1], title="t"), id="p")
    picture = directory.get("p")
    with pytest.raises(ScopeClosed):
        assert picture.photo
    picture.name, picture.title = "changed", "T"
    directory.update(picture)
    with directory.new_scope() as scope:
        loaded = scope.get("p")
        assert (loaded.name, loaded.title, loaded.photo) == ("changed", "T", [1])
    loaded.photo.append(2)
    directory.store(loaded)
    with directory.new_scope() as scope:
        assert scope.get("p").photo == [1, 2]


def test_a_scope_that_does_not_track_writes_the_values_of_objects_it_is_given(directory):
    directory.store(Picture("Ada", photo=[1], title="t"), id="p")
    with directory.new_scope(track=False) as scope:
        picture = scope.get("p")
        picture.photo.append(2)
        scope.update(picture)
    with directory.new_scope() as scope:
        assert (scope.get("p").photo, scope.get("p").title) == ([1, 2], "t")


def test_copies_and_pickles_of_the_owner_have_values_of_their_own(directory):
    directory.store(Picture("Ada", photo=[1]), id="p")
    with directory.new_scope() as scope:
        picture = scope.get("p")
        shallow, deep, pickled = copy.copy(picture), copy.deepcopy(picture), pickle.loads(pickle.dumps(picture))
        assert [c.photo for c in (shallow, deep, pickled)] == [[1], [1], [1]]
        shallow.photo = 2
        deep.photo.append(3)
        assert picture.photo == [1]
        scope.store(shallow, id="shallow")
        scope.store(pickled, id="pickled")
    with directory.new_scope() as scope:
        assert [scope.get(key).photo for key in ("p", "shallow", "pickled")] == [[1], 2, [1]]


def test_a_value_that_cannot_be_stored_is_named_by_the_path_to_it(directory):
    with pytest.raises(NotStorable, match=r"picture.photo\[0\] cannot be stored"):
        directory.store(Picture("Ada", photo=[open]))


def test_a_walk_over_all_objects_gives_no_lazy_values_by_themselves(directory):
    directory.store(Picture("Ada", photo=[1]), id="p")
    with directory.new_scope() as scope:
        (picture,) = scope.all_objects()
        assert picture.photo == [1]


def test_garbage_collection_keeps_lazy_values_and_takes_those_that_were_replaced(tmp_path):
    with directory_in(tmp_path / "a.fs", CLASSES) as directory:
        directory.store(Picture("Ada", photo=[1]), id="p")
        with directory.new_scope() as scope:
            scope.get("p").photo = [2]
        assert entries(directory) == 3

        gc(directory)

        assert entries(directory) == 2
        with directory.new_scope() as scope:
            assert scope.get("p").photo == [2]
