"""Sessions in a scope: saved with the application's objects, in one transaction, or not at all."""

import threading
from dataclasses import dataclass, field

import pytest
import transaction
import ZODB
from session_races import IDLE, START, check_indexes

import kiokupy
from kiokupy import SessionGone, SessionManager, SessionPolicy
from kiokupy.errors import BrokenReference, ConflictError, NotStorable, ScopeClosed, StoreError, StoreReadOnly
from kiokupy.maintenance import fsck, gc
from kiokupy.sessions.manager import CookieAction
from kiokupy.sessions.shelf import Shelf


@dataclass(eq=False)
class User:
    name: str
    friends: list = field(default_factory=list)


@dataclass(slots=True)
class Slotted:
    """What cannot be weakly referenced."""

    name: str


class Unknown:
    pass


@pytest.fixture
def directory():
    with kiokupy.connect(allow_classes=[User, Slotted]) as directory:
        directory.store(User("ann"), id="user:1")
        yield directory


@pytest.fixture
def manager(directory, clock):
    return SessionManager(directory, SessionPolicy(idle=IDLE, clock=clock))


@pytest.fixture
def id(manager):
    """The id of a session that is stored."""
    session = manager.create()
    session["count"] = 1
    session.flush()
    return session.id


@pytest.fixture(params=["scope", "callable", "joined"])
def joining(request, directory):
    """What a session is opened with, in each way that there is, and how the transaction is committed or aborted."""
    return {"scope": Given, "callable": Opened, "joined": Joined}[request.param](directory)


class Given:
    """The application opens and ends the scope."""

    def __init__(self, directory):
        self.scope = self.source = directory.new_scope()

    def commit(self, manager, session):
        with self.scope:
            pass
        return manager.conclude(session)

    def abort(self, manager, session):
        self.scope.close()
        return manager.abandon(session)


class Opened:
    """The session opens the scope, and its end ends it."""

    def __init__(self, directory):
        self.source = directory.new_scope

    def commit(self, manager, session):
        return manager.conclude(session)

    def abort(self, manager, session):
        return manager.abandon(session)


class Joined:
    """A transaction of the application's own decides."""

    def __init__(self, directory):
        self.tm = transaction.TransactionManager(explicit=True)
        self.tm.begin()
        self.source = directory.new_scope(transaction_manager=self.tm)

    def commit(self, manager, session):
        self.tm.commit()
        self.source.close()
        return manager.conclude(session)

    def abort(self, manager, session):
        self.tm.abort()
        self.source.close()
        return manager.abandon(session)


def data(manager, id):
    """Return what is stored of a session, ``None`` if it is not."""
    found = manager.retrieve(id)
    return None if found is None else dict(found)


class TestOneTransaction:
    def test_the_session_and_the_objects_are_committed_together(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        session["count"] += 1
        session.scope.get("user:1").name = "bob"
        session.scope.store(User("eve"), id="user:2")
        session.flush()

        assert (data(manager, id), manager.directory.get("user:1").name) == ({"count": 1}, "ann")
        assert joining.commit(manager, session) is CookieAction.SEND
        assert (data(manager, id), manager.directory.get("user:1").name) == ({"count": 2}, "bob")
        assert manager.directory.exists("user:2")
        assert session.saved

    def test_both_are_dropped_together(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        session["count"] += 1
        session.scope.get("user:1").name = "bob"

        assert joining.abort(manager, session) is CookieAction.KEEP
        assert (data(manager, id), manager.directory.get("user:1").name) == ({"count": 1}, "ann")

    def test_a_new_session_is_stored_with_them(self, manager, joining):
        session = manager.open(scope=joining.source)
        session["a"] = 1

        assert joining.commit(manager, session) is CookieAction.SEND
        assert data(manager, session.id) == {"a": 1}

    def test_a_new_session_that_stays_empty_is_not_stored(self, manager, joining):
        session = manager.open("A" * 43, scope=joining.source)
        session.scope.get("user:1").name = "bob"

        assert joining.commit(manager, session) is CookieAction.DELETE
        assert list(manager.sessions()) == []
        assert manager.directory.get("user:1").name == "bob"

    def test_a_login_moves_the_session_with_them(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        new = session.login("ann")
        session.scope.get("user:1").name = "bob"

        assert (manager.retrieve(new), data(manager, id)) == (None, {"count": 1})
        assert joining.commit(manager, session) is CookieAction.SEND
        assert (manager.retrieve(id), data(manager, new)) == (None, {"count": 1})
        assert (session.id, session.principal) == (new, "ann")
        check_indexes(manager.directory)

    def test_another_principals_data_do_not_come_back_before_a_login_is_committed(self, manager, id):
        session = manager.open(manager.retrieve(id).login("ann"), scope=manager.directory.new_scope)
        session.login("bob")
        session["mine"] = 1
        session.revert()

        assert dict(session) == {}
        manager.conclude(session)
        assert (session.principal, data(manager, session.id)) == ("bob", {})

    def test_a_login_that_is_dropped_leaves_the_session_where_it_was(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        new = session.login("ann")

        assert joining.abort(manager, session) is CookieAction.KEEP
        assert (session.id, session.principal, manager.retrieve(new)) == (id, None, None)

    def test_a_session_is_destroyed_with_them(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        session.scope.get("user:1").name = "bob"

        assert (session.destroy(), session.destroy()) == (True, False)
        assert data(manager, id) == {"count": 1}
        assert joining.commit(manager, session) is CookieAction.DELETE
        assert data(manager, id) is None
        with pytest.raises(SessionGone):
            session.flush()

    def test_a_destroyed_session_is_there_again_when_that_is_dropped(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        session.destroy()

        assert joining.abort(manager, session) is CookieAction.KEEP
        assert (data(manager, id), dict(session), session.destroyed) == ({"count": 1}, {"count": 1}, False)

    def test_an_invalidated_session_goes_on_as_a_new_one(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        session.invalidate()
        session["next"] = 1

        assert joining.commit(manager, session) is CookieAction.SEND
        assert (data(manager, id), data(manager, session.id)) == (None, {"next": 1})
        assert session.id != id

    def test_a_session_that_was_ended_meanwhile_conflicts_with_the_whole_transaction(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        session["count"] += 1
        session.scope.get("user:1").name = "bob"
        manager.destroy(id)

        with pytest.raises((transaction.interfaces.TransientError, SessionGone)):
            joining.commit(manager, session)
        joining.abort(manager, session)
        assert (manager.directory.get("user:1").name, manager.retrieve(id)) == ("ann", None)

    def test_a_session_that_expired_meanwhile_ends_the_whole_transaction(self, manager, id, joining, clock):
        session = manager.open(id, scope=joining.source)
        session["count"] += 1
        session.scope.get("user:1").name = "bob"
        clock.now += IDLE

        with pytest.raises(SessionGone):
            joining.commit(manager, session)
        joining.abort(manager, session)
        assert (manager.directory.get("user:1").name, manager.retrieve(id)) == ("ann", None)

    def test_what_cannot_be_stored_ends_the_whole_transaction(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        session["bad"] = Unknown()
        session.scope.get("user:1").name = "bob"

        with pytest.raises(NotStorable, match="Unknown"):
            joining.commit(manager, session)
        joining.abort(manager, session)
        assert (manager.directory.get("user:1").name, data(manager, id)) == ("ann", {"count": 1})

    def test_events_come_when_it_is_committed(self, directory, clock, joining):
        told = []
        manager = SessionManager(
            directory, SessionPolicy(clock=clock), listeners=[lambda one: told.append(str(one.kind))]
        )
        session = manager.open(scope=joining.source)
        session.login("ann")
        assert told == []
        joining.commit(manager, session)

        assert told == ["created"]


class TestObjects:
    def test_the_session_has_the_very_objects_of_the_scope(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["user"], session["list"] = scope.get("user:1"), [scope.get("user:1")]
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)

            assert session["user"] is scope.get("user:1") is session["list"][0]
            assert scope.object_to_id(session["user"]) == "user:1"

    def test_an_object_that_was_changed_through_the_session_is_saved(self, manager, id):
        with manager.directory.new_scope() as scope:
            manager.open(id, scope=scope)["user"] = scope.get("user:1")
        session = manager.open(id, scope=manager.directory.new_scope)
        session["user"].name = "bob"
        manager.conclude(session)

        assert manager.directory.get("user:1").name == "bob"
        assert data(manager, id)["user"].name == "bob"

    def test_an_object_from_outside_that_was_changed_is_saved(self, manager, id):
        user = manager.directory.get("user:1")
        user.name = "bob"
        session = manager.open(id, scope=manager.directory.new_scope)
        session["user"] = user
        manager.conclude(session)

        assert manager.directory.get("user:1").name == "bob"

    def test_an_object_that_the_transaction_stores_is_referred_to(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["user"] = User("eve")
            scope.store(session["user"], id="user:2")
        manager.directory.store(User("eve the second"), id="user:3")
        eve = manager.directory.get("user:2")
        eve.name = "evelyn"
        manager.directory.update(eve)

        assert data(manager, id)["user"].name == "evelyn"

    def test_an_object_that_only_the_session_has_belongs_to_it(self, manager, id):
        with manager.directory.new_scope() as scope:
            manager.open(id, scope=scope)["user"] = User("eve")

        assert data(manager, id)["user"].name == "eve"
        assert [user.name for user in manager.directory.all_objects()] == ["ann"]

    def test_what_the_session_refers_to_is_no_garbage(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["user"] = User("eve", [User("may")])
            scope.store(session["user"], root=False)
        assert gc(manager.directory).ids == []
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            assert session["user"].friends[0].name == "may"
            session.destroy()

        assert len(gc(manager.directory).ids) == 2

    def test_a_deleted_object_is_not_in_the_session_any_more(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session.update(user=scope.get("user:1"), users=[scope.get("user:1")], other={"a": 1})
        manager.directory.delete("user:1")
        session = manager.open(id, scope=manager.directory.new_scope)

        assert dict(session) == {"count": 1, "other": {"a": 1}}
        session["count"] = 2
        manager.conclude(session)
        assert data(manager, id) == {"count": 2, "other": {"a": 1}}
        assert fsck(manager.directory).findings == []

    def test_an_object_that_was_deleted_in_the_transaction_cannot_be_put_into_the_session(self, manager, id):
        scope = manager.directory.new_scope()
        user = scope.get("user:1")
        scope.delete(user)
        manager.open(id, scope=scope)["user"] = user
        with pytest.raises(BrokenReference, match="'user:1'"):
            scope.commit()
        scope.close()

        assert data(manager, id) == {"count": 1}
        assert manager.directory.exists("user:1")

    def test_a_plain_container_with_an_id_is_the_very_one(self, manager, id):
        manager.directory.store(["a"], id="names")
        with manager.directory.new_scope() as scope:
            manager.open(id, scope=scope)["names"] = scope.get("names")
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            assert session["names"] is scope.get("names")
            session["names"].append("b")

        assert manager.directory.get("names") == ["a", "b"]

    @pytest.mark.parametrize("obj", [["a"], Slotted("a")], ids=lambda obj: type(obj).__name__)
    def test_a_reference_stays_one_where_the_session_is_in_no_scope(self, manager, id, obj):
        manager.directory.store(obj, id="x")
        session = manager.open(id, scope=manager.directory.new_scope)
        session["x"] = session.scope.get("x")
        manager.conclude(session)
        session["after"] = 1
        session.flush()
        assert session.held.record.refs == ("x",)
        session = manager.retrieve(id)
        session["later"] = session["x"] is not None
        session.flush()

        assert session.held.record.refs == ("x",)

    def test_a_damaged_reference_in_the_middle_of_a_merge_is_no_change(self, manager, id):
        with manager.directory.new_scope() as scope:
            manager.open(id, scope=scope)["user"] = scope.get("user:1")
        session = manager.open(id, scope=manager.directory.new_scope)
        session["mine"] = 1
        manager.directory.delete("user:1")
        other = manager.retrieve(id)
        other["theirs"] = 1
        other.flush()
        with pytest.raises(ConflictError):
            manager.conclude(session)
        session = manager.open(id, scope=manager.directory.new_scope)
        session["mine"] = 1
        manager.conclude(session)

        assert data(manager, id) == {"count": 1, "mine": 1, "theirs": 1}


class TestSavepoints:
    def test_a_rollback_takes_the_session_back_as_well(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["kept"] = ["a"]
            session.increment("count")
            point = scope.savepoint()
            session["kept"].append("b")
            session["dropped"] = 1
            session.increment("count")
            session.set_lifetime(lasting=True)
            scope.get("user:1").name = "bob"
            point.rollback()

            assert dict(session) == {"count": 2, "kept": ["a"]}
            assert session.max_age is None
        assert data(manager, id) == {"count": 2, "kept": ["a"]}

    def test_it_can_be_rolled_back_to_twice(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["list"] = []
            point = scope.savepoint()
            for _ in range(2):
                session["list"].append(1)
                session.set_lifetime(idle=5)
                session.increment("count")
                point.rollback()
                assert (dict(session), session.held.changes, session.held.merges) == ({"count": 1, "list": []}, {}, {})

    def test_a_session_that_was_not_touched_before_is_as_the_store_has_it(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, lazy=True, scope=scope)
            scope.get("user:1")
            point = scope.savepoint()
            session["count"] = 7
            point.rollback()

            assert dict(session) == {"count": 1}

    def test_a_login_and_an_end_are_taken_back(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            point = scope.savepoint()
            session.login("ann")
            point.rollback()
            assert (session.id, session.principal) == (id, None)
            session.destroy()
            point.rollback()
            assert not session.destroyed

        assert data(manager, id) == {"count": 1}

    def test_a_nested_transaction_that_fails_takes_the_session_back(self, manager, id):
        def outer(scope):
            session = manager.open(id, scope=scope)
            session["outer"] = scope.get("user:1")

            def inner(scope):
                session["inner"] = 1
                session["outer"].name = "bob"
                raise ValueError("no")

            with pytest.raises(ValueError, match="no"):
                scope.txn_do(inner)
            assert session["outer"] is scope.get("user:1")

        manager.directory.txn_do(outer)

        found = data(manager, id)
        assert (found["outer"].name, "inner" in found) == ("ann", False)

    def test_a_nested_transaction_that_succeeds_keeps_it(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            scope.txn_do(lambda scope: session.update(inner=1))

        assert data(manager, id) == {"count": 1, "inner": 1}

    def test_what_cannot_be_stored_is_told_at_the_savepoint(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["bad"] = Unknown()
            with pytest.raises(NotStorable, match=r"session\['bad'\]"):
                scope.savepoint()
            del session["bad"]

        assert data(manager, id) == {"count": 1}


class TestConflicts:
    def test_txn_do_tries_again_with_the_session_as_it_is_then(self, manager, id):
        attempts = []

        def work(scope):
            session = manager.open(id, scope=scope)
            session.increment("count")
            scope.get("user:1").name += "!"
            attempts.append(session)
            if len(attempts) == 1:
                other = manager.retrieve(id)
                other.increment("count")
                other.flush()

        manager.directory.txn_do(work)

        assert len(attempts) == 2
        assert (data(manager, id), manager.directory.get("user:1").name) == ({"count": 3}, "ann!")

    def test_requests_in_threads_lose_nothing(self, manager, id):
        def visit(scope):
            manager.open(id, scope=scope).increment("count")
            scope.get("user:1").friends.append(threading.get_ident())

        def visits():
            for _ in range(5):
                manager.directory.txn_do(visit, retries=50)

        threads = [threading.Thread(target=visits) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert data(manager, id) == {"count": 16}
        assert len(manager.directory.get("user:1").friends) == 15

    def test_what_others_saved_before_the_scopes_next_transaction_is_merged(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["mine"] = 1
            scope.commit()
            other = manager.retrieve(id)
            other["theirs"] = 1
            other.flush()
            scope.abort()
            session["mine"] = 2

        assert data(manager, id) == {"count": 1, "mine": 2, "theirs": 1}

    def test_a_conflict_ends_what_was_done_to_the_session(self, manager, id):
        scope = manager.directory.new_scope()
        session = manager.open(id, scope=scope)
        session["mine"] = 1
        other = manager.retrieve(id)
        other["theirs"] = 1
        other.flush()
        with pytest.raises(ConflictError):
            scope.commit()

        assert dict(session) == {"count": 1, "theirs": 1}
        session["mine"] = 2
        scope.commit()
        scope.close()
        assert data(manager, id) == {"count": 1, "mine": 2, "theirs": 1}


class TestScopeOfManyTransactions:
    def test_an_abort_after_a_login_that_was_committed_keeps_it(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            new = session.login("ann")
            scope.commit()
            session["dropped"] = 1
            scope.abort()

            assert (session.id, session.principal, dict(session)) == (new, "ann", {"count": 1})

    def test_a_new_session_is_known_after_the_scope_was_committed_and_closed(self, manager):
        scope = manager.directory.new_scope()
        session = manager.open(scope=scope)
        session["a"] = 1
        scope.commit()
        scope.close()

        assert manager.conclude(session) is CookieAction.SEND
        assert data(manager, session.id) == {"a": 1}

    def test_a_destroyed_session_stays_destroyed_after_that(self, manager, id):
        scope = manager.directory.new_scope()
        session = manager.open(id, scope=scope)
        session.destroy()
        scope.commit()
        scope.close()

        assert session.destroyed
        assert manager.conclude(session) is CookieAction.DELETE
        with pytest.raises(SessionGone):
            session.flush()


class TestAfterTheEnd:
    def test_the_session_is_saved_in_transactions_of_its_own(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        session["user"] = session.scope.get("user:1")
        joining.commit(manager, session)
        session["late"] = 1
        session.flush()

        assert (data(manager, id)["late"], data(manager, id)["user"].name) == (1, "ann")
        session.regenerate()
        assert (data(manager, id), data(manager, session.id)["late"]) == (None, 1)
        assert session.destroy()
        assert data(manager, session.id) is None

    def test_what_is_changed_between_the_end_of_the_scope_and_of_the_request_is_saved(self, manager, id):
        with manager.directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["count"] = 2
        session["late"] = 1
        manager.conclude(session)

        assert data(manager, id) == {"count": 2, "late": 1}

    def test_that_is_so_where_the_application_ended_the_scope_that_the_session_opened(self, manager, id):
        session = manager.open(id, scope=manager.directory.new_scope)
        with session.scope:
            session["count"] = 2
        session["late"] = 1
        manager.conclude(session)

        assert data(manager, id) == {"count": 2, "late": 1}

    def test_the_scope_is_closed_though_the_session_cannot_be_read(self, manager, id, monkeypatch):
        session = manager.open(id, lazy=True, scope=manager.directory.new_scope)
        scope = session.scope
        monkeypatch.setattr(Shelf, "alive", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            manager.conclude(session)

        assert not scope.is_open

    def test_a_lazy_session_that_is_touched_then_asks_the_store(self, manager, id, joining):
        session = manager.open(id, lazy=True, scope=joining.source)
        joining.commit(manager, session)

        assert dict(session) == {"count": 1}

    def test_no_scope_is_opened_any_more(self, manager, id):
        session = manager.open(id, lazy=True, scope=manager.directory.new_scope)
        assert manager.conclude(session) is CookieAction.KEEP
        assert (dict(session), session.is_joined) == ({"count": 1}, False)

        with pytest.raises(ScopeClosed, match="the scope of a session that was concluded"):
            session.scope  # noqa: B018  # it is asked for

    def test_the_scope_that_it_had_is_closed(self, manager, id, joining):
        session = manager.open(id, scope=joining.source)
        scope = session.scope
        joining.commit(manager, session)

        with pytest.raises(ScopeClosed):
            scope.get("user:1")

    def test_a_concluded_session_is_not_saved_by_the_scope_again(self, manager, id):
        scope = manager.directory.new_scope()
        session = manager.open(id, scope=scope)
        session["count"] = 2
        with scope:
            pass
        session["count"] = 3
        scope.close()

        assert (data(manager, id), dict(session)) == ({"count": 2}, {"count": 3})


class TestOtherTransactions:
    """A transaction that other databases take part in."""

    @pytest.fixture
    def tm(self):
        return transaction.TransactionManager()

    @pytest.fixture
    def other(self, tm):
        database = ZODB.DB(None)
        connection = database.open(tm)
        yield connection.root()
        tm.abort()
        connection.close()
        database.close()

    def joined(self, manager, id, tm):
        return manager.open(id, scope=manager.directory.new_scope(transaction_manager=tm))

    def test_its_commit_commits_both(self, manager, id, tm, other):
        session = self.joined(manager, id, tm)
        session["count"] = 2
        other["a"] = 1
        tm.commit()
        manager.conclude(session)
        session.scope.close()
        tm.begin()

        assert (data(manager, id), dict(other)) == ({"count": 2}, {"a": 1})

    def test_its_abort_aborts_both(self, manager, id, tm, other):
        session = self.joined(manager, id, tm)
        session["count"] = 2
        other["a"] = 1
        tm.abort()
        session.scope.close()

        assert (data(manager, id), dict(other), dict(session)) == ({"count": 1}, {}, {"count": 1})

    def test_a_failure_of_the_other_one_aborts_both(self, manager, id, tm, other):
        session = self.joined(manager, id, tm)
        session["count"] = 2
        session.login("ann")
        other["a"] = lambda: "cannot be pickled"
        with pytest.raises(Exception, match="pickle"):
            tm.commit()
        tm.abort()
        session.scope.close()

        assert (data(manager, id), dict(other), session.principal) == ({"count": 1}, {}, None)

    def test_a_conflict_about_the_session_aborts_both(self, manager, id, tm, other):
        session = self.joined(manager, id, tm)
        session["count"] = 2
        other["a"] = 1
        other_request = manager.retrieve(id)
        other_request["theirs"] = 1
        other_request.flush()
        with pytest.raises(transaction.interfaces.TransientError):
            tm.commit()
        tm.abort()
        session.scope.close()

        assert (data(manager, id), dict(other)) == ({"count": 1, "theirs": 1}, {})

    def test_a_session_that_is_gone_aborts_both_even_if_the_commit_is_tried_again(self, manager, id, tm, other, clock):
        session = self.joined(manager, id, tm)
        session["count"] = 2
        session.scope.get("user:1").name = "bob"
        other["a"] = 1
        clock.now += IDLE
        with pytest.raises(SessionGone):
            tm.commit()
        with pytest.raises(transaction.interfaces.TransactionFailedError):
            tm.commit()
        tm.abort()
        session.scope.close()

        assert (manager.directory.get("user:1").name, dict(other)) == ("ann", {})

    def test_attempts_of_the_transaction_package_try_again(self, manager, id, tm, other):
        attempts = []
        for attempt in tm.attempts(3):
            with attempt:
                session = self.joined(manager, id, tm)
                attempts.append(session)
                session.increment("count")
                other["count"] = session["count"]
                if len(attempts) == 1:
                    manager_session = manager.retrieve(id)
                    manager_session.increment("count")
                    manager_session.flush()
        for session in attempts:
            session.scope.close()

        assert (len(attempts), data(manager, id), other["count"]) == (2, {"count": 3}, 3)

    def test_the_scope_is_not_ended_by_itself(self, manager, id, tm):
        session = self.joined(manager, id, tm)
        session.scope.get("user:1").name = "bob"
        session.scope.savepoint()
        for verb in (session.scope.commit, session.scope.abort, session.scope.close):
            with pytest.raises(StoreError, match="in a transaction that is not its own"):
                verb()
        tm.abort()
        session.scope.close()

    def test_a_scope_that_was_closed_before_has_no_part_in_it(self, manager, tm):
        with manager.directory.new_scope(transaction_manager=tm) as scope:
            assert scope.get("user:1").name == "ann"
        tm.commit()

        with pytest.raises(ScopeClosed):
            scope.get("user:1")

    def test_a_rollback_takes_all_of_them_back(self, manager, id, tm, other):
        session = self.joined(manager, id, tm)
        session["count"], other["a"] = 2, 1
        point = session.scope.savepoint()
        session["count"], other["a"] = 3, 2
        point.rollback()
        tm.commit()
        session.scope.close()
        tm.begin()

        assert (data(manager, id), other["a"]) == ({"count": 2}, 1)

    def test_a_commit_without_changes_ends_the_scope(self, manager, tm):
        scope = manager.directory.new_scope(transaction_manager=tm, readonly=True)
        scope.get("user:1")
        tm.commit()

        with pytest.raises(ScopeClosed):
            scope.get("user:1")
        scope.close()


class TestReadOnly:
    def test_a_session_is_in_no_scope_that_only_reads(self, manager, id):
        with manager.directory.new_scope(readonly=True) as scope, pytest.raises(StoreReadOnly):
            manager.open(id, scope=scope)

    def test_sessions_are_read_from_a_store_that_is_only_read(self, tmp_path):
        path = tmp_path / "store.fs"
        with kiokupy.connect("File", path=path) as directory:
            id = SessionManager(directory).create().id
        with kiokupy.connect("File", path=path, readonly=1) as directory:
            manager = SessionManager(directory)

            assert dict(manager.retrieve(id)) == {}
            assert len(list(manager.sessions())) == 1


def test_the_use_of_a_session_is_noted_when_only_objects_changed(manager, id, clock):
    clock.now += 600
    session = manager.open(id, lazy=True, scope=manager.directory.new_scope)
    session.scope.get("user:1").name = "bob"
    manager.conclude(session)

    assert manager.retrieve(id).used.timestamp() == START + 600


def test_two_sessions_in_one_scope_are_saved_together(manager, id):
    with manager.directory.new_scope() as scope:
        one, two = manager.open(id, scope=scope), manager.open(scope=scope)
        one["count"], two["user"] = 2, scope.get("user:1")

    assert (data(manager, id), data(manager, two.id)["user"].name) == ({"count": 2}, "ann")


def test_one_session_twice_in_one_scope_is_merged(manager, id):
    with manager.directory.new_scope() as scope:
        one, two = manager.open(id, scope=scope), manager.open(id, scope=scope)
        one["a"], two["b"] = 1, 2
        one.increment("count")
        two.increment("count")

    assert data(manager, id) == {"count": 3, "a": 1, "b": 2}
