"""Opening: what is there, what is made, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from kiokupy import backends
from kiokupy.directory import Directory
from kiokupy.errors import StoreNotFound, StoreReadOnly, StoreTooNew, TargetError
from kiokupy.testing.capabilities import Capability, needs
from kiokupy.testing.people import Person

#: What the fixture ``connect`` gives.
Connect: TypeAlias = Callable[..., Directory]


class Opening:
    """Tests of the backend's ``open`` as :class:`kiokupy.backends.Backend` promises it."""

    def test_the_target_names_a_backend(self, target: Any) -> None:
        backend = backends.resolve(target).backend()
        assert isinstance(backend, backends.Backend)
        assert backend.location

    def test_an_option_that_no_backend_knows_is_refused(self, connect: Connect) -> None:
        with pytest.raises(TargetError):
            connect(**{"no such option": 1})

    def test_a_new_store_is_empty_and_can_be_written(self, connect: Connect) -> None:
        directory = connect()
        assert not directory.readonly
        assert directory.location in repr(directory)
        assert directory.lookup("x") is None
        directory.store(Person("a"), id="x")
        assert directory.get("x").name == "a"

    @pytest.mark.parametrize("options", [{"create": 0}, {"readonly": 1}], ids=["create=0", "readonly=1"])
    def test_a_store_that_is_not_there_is_not_found_and_not_made(
        self, connect: Connect, options: dict[str, Any]
    ) -> None:
        for _ in range(2):
            with pytest.raises(StoreNotFound):
                connect(**options)

    @needs(Capability.LASTING)
    def test_what_was_stored_is_there_when_the_store_is_opened_again(self, connect: Connect) -> None:
        with connect() as directory:
            directory.store(Person("a", friend=Person("b")), id="x")
            directory.store({"a": [1, 2]}, id="y", root=False)
        with connect(create=0) as directory:
            assert directory.get("x").friend.name == "b"
            assert directory.get("y") == {"a": [1, 2]}
            assert directory.is_root("x")
            assert not directory.is_root("y")

    @needs(Capability.LASTING)
    def test_what_was_not_committed_is_not_there_when_the_store_is_opened_again(self, connect: Connect) -> None:
        with connect() as directory:
            directory.store(Person("a"), id="x")
            with directory.new_scope() as scope:
                scope.get("x").name = "changed"
                scope.store(Person("b"), id="y")
                scope.abort()
        with connect(create=0) as directory:
            assert directory.get("x").name == "a"
            assert not directory.exists("y")

    @needs(Capability.LASTING)
    def test_a_store_that_a_newer_kiokupy_wrote_is_refused(self, connect: Connect) -> None:
        with connect() as directory, directory.new_unit() as unit:
            unit.root["format"] = 99
            unit.commit()
        for _ in range(2):  # the first one left nothing locked
            with pytest.raises(StoreTooNew) as caught:
                connect()
            assert caught.value.found == 99

    @needs(Capability.LASTING, Capability.READONLY)
    def test_a_store_opened_for_reading_refuses_to_write(self, connect: Connect) -> None:
        with connect() as directory:
            directory.store(Person("a"), id="x")
        with connect(readonly=1) as directory:
            assert directory.readonly
            assert directory.get("x").name == "a"
            with pytest.raises(StoreReadOnly):
                directory.store(Person("b"))
            with directory.new_unit() as unit:  # past the directory's own check, to the storage
                unit.root["format"] = 99
                with pytest.raises(StoreReadOnly):
                    unit.commit()
        connect(create=0)

    @needs(Capability.SHARED)
    def test_a_second_directory_sees_what_the_first_one_wrote(self, connect: Connect) -> None:
        one, other = connect(), connect()
        one.store(Person("a"), id="x")
        assert other.get("x").name == "a"
        with other.new_scope() as scope:
            scope.get("x").name = "b"
        assert one.get("x").name == "b"
        one.close()
        assert other.get("x").name == "b"
