"""Scopes in a transaction that somebody else begins and ends."""

import pytest
import transaction

import kiokupy
from kiokupy import StoreError


@pytest.fixture(params=[False, True], ids=["implicit", "explicit"])
def tm(request):
    return transaction.TransactionManager(explicit=request.param)


@pytest.fixture
def directory():
    with kiokupy.connect("Hash") as directory:
        directory.store([1], id="list")
        yield directory


@pytest.fixture
def scope(directory, tm):
    """A scope in a transaction of ``tm``; both have to be over at the end of a test."""
    tm.begin()
    with directory.new_scope(transaction_manager=tm) as scope:
        yield scope


def is_connected(directory):
    """Tell whether a connection was not given back."""
    with directory.new_unit() as unit:
        database = unit.connection.db()
    return any(info["opened"] for info in database.connectionDebugInfo())


class Vetoes:
    """Another part of the transaction, which cannot commit."""

    def __init__(self):
        self.aborted = 0

    def sortKey(self):  # noqa: N802  # a data manager's method
        return "!"

    def tpc_begin(self, transaction):
        pass

    def commit(self, transaction):
        pass

    def tpc_vote(self, transaction):
        raise RuntimeError("no")

    def tpc_abort(self, transaction):
        self.aborted += 1

    def abort(self, transaction):
        pass


def test_its_commit_writes_what_changed_and_ends_the_scope(scope, directory, tm):
    scope.get("list").append(2)
    scope.store({"a": 1}, id="dict")
    tm.commit()

    assert (directory.get("list"), directory.get("dict")) == ([1, 2], {"a": 1})
    assert not scope.is_open


def test_its_abort_drops_what_changed_and_ends_the_scope(scope, directory, tm):
    scope.get("list").append(2)
    tm.abort()

    assert directory.get("list") == [1]
    assert not scope.is_open


def test_a_failure_elsewhere_drops_what_changed_and_ends_the_scope(scope, directory, tm):
    scope.get("list").append(2)
    tm.get().join(Vetoes())
    with pytest.raises(RuntimeError):
        tm.commit()

    assert directory.get("list") == [1]
    assert not scope.is_open
    tm.abort()


def test_a_failure_in_the_scope_is_one_of_the_whole_transaction(scope, directory, tm):
    scope.get("list").append(open)
    other = Vetoes()
    tm.get().join(other)
    with pytest.raises(kiokupy.NotStorable):
        tm.commit()

    assert other.aborted == 1
    assert not scope.is_open
    scope.close()
    tm.abort()
    tm.begin()
    tm.commit()
    assert directory.get("list") == [1]


def test_a_scope_that_was_closed_before_takes_no_part(directory, tm):
    tm.begin()
    scope = directory.new_scope(transaction_manager=tm)
    scope.get("list").append(2)
    scope.close()
    tm.commit()

    assert directory.get("list") == [1]


def test_a_readonly_scope_writes_nothing(directory, tm):
    tm.begin()
    with directory.new_scope(transaction_manager=tm, readonly=True) as scope:
        assert scope.get("list") == [1]
        tm.commit()

    assert not scope.is_open


@pytest.mark.parametrize("verb", ["commit", "abort"])
def test_the_transaction_is_not_the_scopes_to_end(scope, tm, verb):
    with pytest.raises(
        StoreError, match=r"in a transaction that is not its own\. Commit or abort the transaction it was"
    ):
        getattr(scope, verb)()
    tm.abort()


def test_a_scope_with_something_written_is_not_closed_before_the_end(scope, tm):
    scope.store([3])
    scope.savepoint()
    with pytest.raises(StoreError, match=r"close\(\) was called"):
        scope.close()
    tm.abort()


def test_a_block_that_ends_before_the_transaction_leaves_its_changes_to_it(directory, tm):
    with tm, directory.new_scope(transaction_manager=tm) as scope:
        scope.get("list").append(2)  # nothing is written until the commit

    assert directory.get("list") == [1, 2]
    assert not is_connected(directory)


def test_a_block_that_raises_lets_its_own_error_through(directory, tm):
    def work():
        with tm, directory.new_scope(transaction_manager=tm) as scope:
            scope.store([], id="other")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert not directory.exists("other")
    assert not is_connected(directory)
