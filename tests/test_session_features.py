"""What a session is beside a mapping: whose it is, how long it lives, how large it may be, what it tells and keeps."""

import logging
import math
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPMethod

import pytest
from session_races import in_threads, stored
from ZODB.POSException import POSKeyError

import kiokupy
from kiokupy import Device, EventKind, SessionGone, SessionManager, SessionPolicy, SettingsError
from kiokupy.entry import NEW, Entry, Record
from kiokupy.errors import BrokenReference, NotStorable, SessionTooLarge, StoreUnreadable, TooManySessions
from kiokupy.maintenance import gc
from kiokupy.sessions import facts as facts_module
from kiokupy.sessions import merging
from kiokupy.sessions import roster as roster_module
from kiokupy.sessions.facts import CLASS_NAME, Facts, facts_of, head_of
from kiokupy.sessions.ids import handle_of, key_of
from kiokupy.sessions.manager import CookieAction
from kiokupy.sessions.shelf import Shelf
from kiokupy.sessions.sweeping import Sweeper


@dataclass
class Person:
    name: str
    friends: list = field(default_factory=list)


@pytest.fixture
def manager(place, policy):
    with place.connect(allow_classes=[Person]) as directory:
        yield SessionManager(directory, policy)


@pytest.fixture
def new_manager(clock):
    """Return a maker of managers in memory, each on a directory of its own."""
    directories = []

    def make(*, merges=None, listeners=(), **options):
        directories.append(kiokupy.connect("Hash", allow_classes=[Person]))
        return SessionManager(
            directories[-1], SessionPolicy(**{"clock": clock} | options), merges=merges, listeners=listeners
        )

    yield make
    for directory in directories:
        directory.close()


@pytest.fixture
def hash_manager(new_manager):
    return new_manager(idle=1800, absolute=7200)


def marks(manager):
    with manager.directory.new_unit() as unit:
        return [key for _, key in Shelf(unit.root).due(math.inf)]


class TestOnEveryBackend:
    def test_a_login_moves_the_session_and_notes_the_principal_in_one_transaction(self, manager):
        session = manager.create()
        session["cart"] = [1]
        old = session.id

        new = session.login("alice")

        assert manager.retrieve(old) is None
        found = manager.retrieve(new)
        assert (found.principal, dict(found), session.id) == ("alice", {"cart": [1]}, new)

    def test_the_sessions_of_a_principal_are_listed(self, manager):
        for name in ("alice", "bob", "alice"):
            manager.open().login(name)
        manager.create()

        assert [info.principal for info in manager.sessions("alice")] == ["alice", "alice"]
        assert sorted(str(info.principal) for info in manager.sessions()) == ["None", "alice", "alice", "bob"]
        assert list(manager.sessions("al")) == []

    def test_all_sessions_of_a_principal_are_ended_but_the_one_that_is_kept(self, manager):
        kept, *others = [manager.open() for _ in range(4)]
        for session in (kept, *others):
            session.login("alice")
        bob = manager.open()
        bob.login("bob")

        assert manager.destroy_all("alice", keep=kept) == 3
        assert [manager.retrieve(session.id) is None for session in (kept, *others, bob)] == [False, *[True] * 3, False]
        assert manager.destroy_all("alice") == 1
        assert manager.destroy_all("alice") == 0

    def test_one_session_of_a_principal_is_ended_by_its_handle(self, manager):
        session, other = manager.open(), manager.open()
        session.login("alice")
        other.login("alice")
        handle = handle_of(key_of(session.id))

        assert handle in {info.handle for info in manager.sessions("alice")}
        assert manager.end("bob", handle) is False
        assert manager.end("alice", handle) is True
        assert manager.end("alice", handle) is False
        assert manager.retrieve(session.id) is None
        assert manager.retrieve(other.id) is not None

    def test_no_session_is_ended_by_a_handle_that_is_missing(self, manager):
        manager.open().login("alice")

        assert not manager.end("alice", None)
        assert not manager.end("alice", "")
        assert len(list(manager.sessions("alice"))) == 1

    def test_everybodys_sessions_are_ended(self, manager, monkeypatch):
        monkeypatch.setattr("kiokupy.sessions.manager.BATCH", 2)
        for name in ("alice", "bob", "alice"):
            manager.open().login(name)
        manager.create()

        assert manager.destroy_everyone() == 4
        assert (stored(manager), list(manager.sessions("alice"))) == ([], [])
        assert manager.destroy_everyone() == 0

    def test_a_sweep_takes_out_what_has_expired_and_nothing_else(self, manager, clock):
        for _ in range(5):
            manager.open().login("alice")
        clock.now += 1000
        used = manager.create()
        clock.now += 900

        assert manager.sweep() == 5
        assert stored(manager) == [key_of(used.id)]
        assert manager.sweep() == 0
        assert list(manager.sessions("alice")) == []

    def test_what_a_session_refers_to_is_not_copied_into_it(self, manager):
        directory = manager.directory
        directory.store(Person("Ann"), id="ann")
        session = manager.create()
        session["user"], session["text"] = directory.get("ann"), "x"
        session.flush()
        directory.store(directory.get("ann").__class__("x"), id="other")
        changed = directory.get("ann")
        changed.name = "Anna"
        directory.update(changed)

        found = manager.retrieve(session.id)
        assert found["user"].name == "Anna"
        assert directory.departed_id(found["user"]) == "ann"

    def test_session_and_objects_are_committed_together_or_not_at_all(self, manager):
        directory, id = manager.directory, manager.create().id
        with directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["user"] = Person("Ann")
            scope.store(session["user"], id="ann")
        with directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            session["user"].name = "Bob"
            session["n"] = 1
            scope.abort()
        with directory.new_scope() as scope:
            session = manager.open(id, scope=scope)
            assert session["user"] is scope.get("ann")
            assert (session["user"].name, "n" in session) == ("Ann", False)


class TestLogin:
    def test_a_new_session_is_stored_with_its_login(self, hash_manager):
        session = hash_manager.open()
        id = session.login("alice")

        assert hash_manager.retrieve(id).principal == "alice"

    def test_another_principal_does_not_see_the_data_of_the_first(self, hash_manager):
        session = hash_manager.open()
        session["secret"] = 1
        session.login("alice")
        other = hash_manager.retrieve(session.id)
        other["late"] = 2
        other.flush()
        session.login("bob")

        found = hash_manager.retrieve(session.id)
        assert (dict(found), found.principal) == ({}, "bob")

    def test_the_same_principal_keeps_its_data(self, hash_manager):
        session = hash_manager.open()
        session.login("alice")
        session["a"] = 1
        session.login("alice")

        assert dict(hash_manager.retrieve(session.id)) == {"a": 1}

    def test_another_principal_has_the_policys_limits_again(self, hash_manager, clock):
        session = hash_manager.create()
        session.login("alice")
        session.set_lifetime(idle=None, absolute=None)
        session.flush()
        session.set_lifetime(idle=60)
        session.login("bob")

        assert session.expires.timestamp() == clock.now + 60
        session.set_lifetime(idle=None)
        assert session.expires.timestamp() == clock.now + 7200

    def test_a_login_starts_the_clocks_anew(self, hash_manager, clock):
        session = hash_manager.create()
        created = session.created
        clock.now += 1700
        session.login("alice")
        for _ in range(3):
            clock.now += 1700
            hash_manager.retrieve(session.id).flush()
        clock.now += 1700

        assert hash_manager.retrieve(session.id).created == created

    def test_freshness_counts_from_the_login(self, new_manager, clock):
        manager = new_manager(fresh=300)
        session = manager.open()
        assert (session.is_fresh(), session.authenticated) == (False, None)
        session.login("alice")
        clock.now += 299
        assert session.is_fresh()
        clock.now += 1
        assert not session.is_fresh()
        assert session.is_fresh(within=301)
        session.login("alice")

        assert manager.retrieve(session.id).is_fresh()
        assert session.authenticated.timestamp() == clock.now

    def test_a_login_that_is_to_be_remembered_outlives_the_browser(self, hash_manager, clock):
        session = hash_manager.open()
        session.login("alice", remember=True)
        assert session.max_age == 14 * 86400
        clock.now += 13 * 86400

        found = hash_manager.retrieve(session.id)
        assert found.max_age == 86400
        found.login("alice")
        assert found.max_age is None

    def test_a_principal_that_was_set_moves_a_stored_session_when_it_is_saved(self, hash_manager):
        session = hash_manager.retrieve(hash_manager.create().id)
        old = session.id
        session.principal = "alice"
        session.flush()

        assert hash_manager.retrieve(old) is None
        assert hash_manager.retrieve(session.id).principal == "alice"

    def test_a_session_that_was_moved_already_is_not_moved_again(self, hash_manager):
        session = hash_manager.retrieve(hash_manager.create().id)
        new = session.regenerate()
        session.principal = "alice"
        session.flush()

        assert session.id == new

    def test_a_move_that_fails_leaves_the_session_and_its_cookie_where_they_were(self, hash_manager):
        id = hash_manager.create().id
        bad = hash_manager.open(id)
        bad["function"] = print
        with pytest.raises(NotStorable):
            bad.regenerate()
        gone = hash_manager.open(id)
        gone.principal = "alice"
        gone["person"] = person = Person("bob")
        hash_manager.directory.delete(hash_manager.directory.store(person))
        with pytest.raises(BrokenReference):
            gone.flush()

        assert (bad.id, gone.id) == (id, id)
        assert hash_manager.abandon(bad) is hash_manager.abandon(gone) is CookieAction.KEEP
        assert hash_manager.retrieve(id) is not None

    def test_a_logout_leaves_nothing(self, hash_manager):
        session = hash_manager.open()
        session.login("alice")
        old = session.id
        session.invalidate()

        assert (dict(session), session.principal, session.is_new) == ({}, None, True)
        assert hash_manager.retrieve(old) is None
        assert list(hash_manager.sessions("alice")) == []

    def test_a_principal_is_a_string(self, hash_manager):
        with pytest.raises(
            SettingsError, match=r"a principal is a string, not a builtins:int. Give its id as a string"
        ):
            hash_manager.open().login(5)

    @pytest.mark.parametrize("nobody", ["", None])
    def test_nobody_does_not_log_in(self, hash_manager, nobody):
        session = hash_manager.open()

        with pytest.raises(SettingsError, match="nobody logs in as"):
            session.login(nobody)
        assert session.principal is None

    def test_a_principal_that_is_unset_is_listed_no_more(self, hash_manager):
        session = hash_manager.open()
        session.login("alice")
        session.principal = None
        session.flush()

        assert list(hash_manager.sessions("alice")) == []
        assert hash_manager.retrieve(session.id).authenticated is None

    def test_the_device_of_the_last_use_is_noted_when_the_session_is_saved(self, hash_manager, clock):
        session = hash_manager.open(device=Device("Firefox", "10.0.0.1"))
        session.login("alice")
        clock.now += 100
        hash_manager.open(session.id, device=Device("Firefox", "10.0.0.2")).flush()

        info = next(hash_manager.sessions("alice"))
        assert info.device == Device("Firefox", "10.0.0.2") == hash_manager.retrieve(session.id).device
        assert (info.used - info.created).total_seconds() == 100
        assert info.authenticated == info.created
        assert (info.expires - info.used).total_seconds() == 1800

    def test_of_what_a_client_says_of_its_device_only_so_much_is_kept(self, hash_manager):
        session = hash_manager.open(device=Device("x" * 100_000, None))
        session.flush()

        assert hash_manager.retrieve(session.id).device == Device("x" * 500, None)

    def test_who_logs_in_once_too_often_loses_the_session_not_used_for_longest(self, new_manager, clock):
        manager = new_manager(parallel=2)
        sessions = [manager.open() for _ in range(3)]
        for session in sessions:
            session.login("alice")
            clock.now += 1
        assert [manager.retrieve(session.id) is None for session in sessions] == [True, False, False]
        sessions[1]["a"] = 1
        sessions[1].flush()
        manager.open().login("alice")

        assert [manager.retrieve(session.id) is None for session in sessions] == [True, False, True]

    def test_who_logs_in_once_too_often_is_refused_if_the_policy_says_so(self, new_manager, clock):
        manager = new_manager(parallel=1, at_limit="refuse")
        session, other = manager.open(), manager.create()
        session.login("alice")
        session.login("alice")
        old = other.id

        with pytest.raises(TooManySessions) as caught:
            other.login("alice")
        assert (caught.value.principal, caught.value.limit) == ("alice", 1)
        assert manager.retrieve(old).principal is None
        clock.now += 1800
        manager.open().login("alice")
        assert len(list(manager.sessions("alice"))) == 1


class TestLifetimes:
    def test_a_session_has_limits_of_its_own(self, hash_manager, clock):
        session = hash_manager.create()
        session.set_lifetime(idle=100, absolute=250)
        session.flush()
        clock.now += 99
        hash_manager.retrieve(session.id).flush()
        clock.now += 99
        hash_manager.retrieve(session.id).flush()
        clock.now += 51
        assert hash_manager.retrieve(session.id) is not None
        clock.now += 1

        assert hash_manager.retrieve(session.id) is None

    def test_a_session_may_have_no_limit(self, hash_manager, clock):
        session = hash_manager.create()
        session.set_lifetime(idle=None, absolute=None)
        session.flush()
        clock.now += 10**9

        assert hash_manager.retrieve(session.id).expires.year == 9999

    def test_a_short_limit_is_renewed_in_time(self, hash_manager, clock):
        session = hash_manager.create()
        session.set_lifetime(idle=10)
        session.flush()
        for _ in range(10):
            clock.now += 6
            hash_manager.retrieve(session.id).flush()

        assert hash_manager.retrieve(session.id) is not None

    def test_a_short_idle_time_of_all_sessions_is_renewed_in_time_too(self, new_manager, clock):
        manager = new_manager(idle=30)
        session = manager.create()
        for _ in range(5):
            clock.now += 16
            manager.retrieve(session.id).flush()

        assert manager.retrieve(session.id) is not None

    def test_what_is_left_out_stays(self, hash_manager):
        session = hash_manager.create()
        session.set_lifetime(idle=100, lasting=True)
        session.set_lifetime(absolute=50)

        assert (session.expires - session.created).total_seconds() == 50
        assert session.max_age == 50

    def test_a_shorter_life_is_swept_in_time(self, hash_manager, clock):
        session = hash_manager.create()
        session.set_lifetime(idle=100)
        session.flush()
        clock.now += 200

        assert hash_manager.sweep() == 1

    def test_no_browser_is_asked_to_keep_a_cookie_for_longer_than_it_would(self, hash_manager):
        session = hash_manager.create()
        session.set_lifetime(idle=None, absolute=None, lasting=True)

        assert session.max_age == 400 * 86400

    @pytest.mark.parametrize("limits", [{"idle": 0}, {"absolute": -1}, {"idle": math.nan}, {"idle": timedelta(1)}])
    def test_a_limit_is_above_0(self, hash_manager, limits):
        with pytest.raises(SettingsError, match="is a number of seconds above 0, or None"):
            hash_manager.open().set_lifetime(**limits)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"remember_idle": 0}, "remember_idle is a number of seconds above 0"),
            ({"idle": "30m"}, "idle is a number of seconds above 0"),
            ({"fresh": "soon"}, "fresh is a number of seconds from 0"),
            ({"max_bytes": 0}, "max_bytes is a whole number above 0"),
            ({"parallel": 1.5}, "parallel is a whole number above 0"),
            ({"overlap": -1}, "overlap is a number of seconds from 0"),
            ({"fresh": math.inf}, "fresh is a number of seconds from 0"),
            ({"at_limit": "panic"}, "at_limit is 'panic'. It is 'end_oldest' or 'refuse'"),
            ({"resolution": math.nan}, "resolution is a number of seconds from 0"),
            ({"resolution": "60"}, "resolution is a number of seconds from 0"),
            ({"absolute": timedelta(hours=1)}, "absolute is a number of seconds above 0"),
        ],
    )
    def test_a_policy_that_makes_no_sense_is_refused(self, options, message):
        with pytest.raises(SettingsError, match=message):
            SessionPolicy(**options)


class TestOverlap:
    def test_by_default_the_old_id_is_dead_at_once(self, hash_manager):
        session = hash_manager.create()
        old = session.id
        session.regenerate()

        assert hash_manager.retrieve(old) is None

    def test_the_old_id_leads_to_the_session_for_a_while(self, new_manager, clock):
        manager = new_manager(overlap=30)
        session = manager.create()
        old = session.id
        slow = manager.retrieve(old)
        new = session.regenerate()
        late = manager.open(old)
        late["late"] = slow["slow"] = 1
        late.flush()
        slow.flush()

        assert dict(manager.retrieve(new)) == {"late": 1, "slow": 1}
        assert late.id == old
        assert manager.conclude(late) is CookieAction.KEEP  # the browser has the new id, which must not be replaced
        clock.now += 30
        assert manager.retrieve(old) is None
        assert manager.retrieve(new) is not None

    def test_a_login_leaves_no_overlap(self, new_manager):
        manager = new_manager(overlap=30)
        session = manager.create()
        old = session.id
        session.login("alice")

        assert manager.retrieve(old) is None

    def test_the_way_from_an_old_id_is_no_session(self, new_manager, clock):
        manager = new_manager(overlap=30)
        session = manager.create()
        old = session.id
        session.regenerate()

        assert len(list(manager.sessions())) == 1
        clock.now += 40
        assert manager.sweep() == 0
        assert stored(manager) == [key_of(session.id)]
        assert manager.destroy(old) is False
        assert manager.retrieve(session.id) is not None

    def test_ending_a_session_by_its_old_id_ends_it(self, new_manager):
        manager = new_manager(overlap=30)
        session = manager.create()
        old = session.id
        session.regenerate()

        assert manager.destroy(old) is True
        assert manager.retrieve(session.id) is None

    def test_a_way_that_leads_nowhere_ends(self, new_manager, clock):
        manager = new_manager(overlap=30)
        session = manager.create()
        with manager.directory.new_unit() as unit:
            key = key_of(session.id)
            facts = facts_of(unit.root["sessions"][key].record)._replace(successor=key)
            record = unit.root["sessions"][key].record._replace(head=head_of(facts))
            unit.root["sessions"][key].record = record
            unit.commit()

        assert manager.retrieve(session.id) is None


class TestSize:
    def test_a_session_that_is_too_large_is_refused_and_nothing_is_lost(self, new_manager):
        manager = new_manager(max_bytes=1000)
        session = manager.create()
        session["a"] = 1
        session.flush()
        session["b"] = "x" * 1000

        with pytest.raises(SessionTooLarge) as caught:
            session.flush()
        assert caught.value.size > caught.value.limit == 1000
        assert dict(manager.retrieve(session.id)) == {"a": 1}
        session["b"] = "x"
        session.flush()
        assert dict(manager.retrieve(session.id)) == {"a": 1, "b": "x"}

    def test_what_two_requests_put_in_is_not_too_large_together(self, new_manager):
        manager = new_manager(max_bytes=1000, max_value_bytes=500)
        one = manager.create()
        two, three = manager.retrieve(one.id), manager.retrieve(one.id)
        one["a"], two["b"] = ["x" * 400], "y" * 400
        one["c"] = two["d"] = "z" * 200
        three.append("a", "w" * 200)
        one.flush()
        for other in (two, three):
            with pytest.raises(SessionTooLarge):
                other.flush()

        assert manager.retrieve(one.id) == one

    def test_a_value_that_is_too_large_is_named(self, new_manager):
        manager = new_manager(max_value_bytes=100)
        session = manager.open()
        session.update({f"k{number}": "x" * 50 for number in range(5)})
        session.flush()
        session["big"] = "x" * 100

        with pytest.raises(SessionTooLarge, match=r"session\['big'\] would take"):
            session.flush()

    def test_without_a_limit_anything_goes(self, new_manager):
        manager = new_manager(max_bytes=None)
        session = manager.open()
        session["big"] = "x" * (2 << 20)
        session.flush()

        assert len(manager.retrieve(session.id)["big"]) == 2 << 20

    def test_a_session_that_is_too_large_already_can_be_used(self, new_manager, clock):
        manager = new_manager(max_bytes=None)
        session = manager.open()
        session["big"] = "x" * 2000
        session.flush()
        strict = SessionManager(manager.directory, SessionPolicy(max_bytes=1000, clock=clock))
        clock.now += 100
        found = strict.retrieve(session.id)
        assert found["big"]
        found.flush()

        assert strict.retrieve(session.id).used.timestamp() == clock.now


class TestMerging:
    def both(self, manager, change, other, **before):
        session = manager.open()
        session.update(before)
        session.flush()
        one, two = manager.retrieve(session.id), manager.retrieve(session.id)
        change(one)
        other(two)
        one.flush()
        two.flush()
        assert dict(two) == dict(manager.retrieve(session.id))
        return dict(two)

    def test_the_later_writer_of_a_key_wins(self, hash_manager):
        found = self.both(hash_manager, lambda s: s.update(a=1), lambda s: s.update(a=2), a=0)

        assert found == {"a": 2}

    def test_increments_add_up(self, hash_manager):
        found = self.both(hash_manager, lambda s: s.increment("n"), lambda s: s.increment("n", 10), n=1)

        assert found == {"n": 12}

    def test_increments_of_what_was_not_there_add_up(self, hash_manager):
        assert self.both(hash_manager, lambda s: s.increment("n"), lambda s: s.increment("n")) == {"n": 2}

    def test_what_both_append_is_kept(self, hash_manager):
        def mine(session):
            session.append("log", "c")
            session.append("log", "d", "d")

        found = self.both(hash_manager, lambda s: s.append("log", "b"), mine, log=["a"])

        assert found == {"log": ["a", "b", "c", "d", "d"]}

    def test_a_counter_is_what_increment_returned(self, hash_manager):
        session = hash_manager.open()

        assert [session.increment("n"), session.increment("n", 0.5)] == [1, 1.5]

    def test_a_key_has_a_merge_function(self, new_manager):
        manager = new_manager(merges={"best": lambda base, mine, theirs: max(mine, theirs), "old": merging.first})
        found = self.both(
            manager, lambda s: s.update(best=9, old=1, other=1), lambda s: s.update(best=5, old=2), best=1, old=0
        )

        assert found == {"best": 9, "old": 1, "other": 1}

    def test_a_merge_function_is_asked_where_both_changed_only(self, new_manager):
        calls = []
        manager = new_manager(merges={"a": lambda *values: calls.append(values) or 0})
        found = self.both(manager, lambda s: s.update(b=1), lambda s: s.update(a=2), a=1)

        assert (found, calls) == ({"a": 2, "b": 1}, [])

    def test_a_key_that_is_gone_is_none_to_a_merge_function(self, new_manager):
        calls = []

        def merge(base, mine, theirs):
            calls.append((base, mine, theirs))
            return "kept"

        manager = new_manager(merges={"a": merge})
        found = self.both(manager, lambda s: s.pop("a"), lambda s: s.update(a=2), a=1)

        assert (found, calls) == ({"a": "kept"}, [(1, 2, None)])

    @pytest.mark.parametrize("merges", [{"a": 5}, {5: merging.added}])
    def test_a_merge_function_is_a_function_for_a_key(self, new_manager, merges):
        with pytest.raises(SettingsError, match=r"merges has .* which is no function"):
            new_manager(merges=merges)

    @pytest.mark.parametrize(
        ("base", "mine", "theirs", "expected"),
        [
            ([1], [1, 2], [1, 3], [1, 3, 2]),
            ([1, 2], [2], [1, 2, 3], [2, 3]),
            ([1, 1], [1], [1, 1, 1], [1, 1]),
            (None, [1], [1], [1, 1]),
            ([1], None, [1, 2], [2]),
            ([1], [1, 2], None, [2]),
        ],
    )
    def test_lists_are_merged(self, base, mine, theirs, expected):
        assert merging.appended(base, mine, theirs) == expected

    def test_the_first_value_stays_unless_it_is_gone(self):
        assert merging.first(0, 1, 2) == 2
        assert merging.first(0, 1, None) == 1


class TestMessages:
    def test_messages_are_kept_until_they_are_shown(self, hash_manager):
        session = hash_manager.open()
        session.flash("saved")
        session.flash("saved", allow_duplicate=False)
        session.flash("low", queue="warnings")
        session.flush()
        found = hash_manager.retrieve(session.id)

        assert found.peek_flash() == found.pop_flash() == ["saved"]
        assert (found.pop_flash(), found.peek_flash("warnings")) == ([], ["low"])

    def test_messages_of_two_requests_are_both_shown_and_none_twice(self, hash_manager):
        session = hash_manager.open()
        session.flash("a")
        session.flush()
        one, two, three = (hash_manager.retrieve(session.id) for _ in range(3))
        one.flash("b")
        assert two.pop_flash() == ["a"]
        three.flash("c")
        for request in (one, two, three):
            request.flush()

        assert hash_manager.retrieve(session.id).pop_flash() == ["b", "c"]

    def test_the_csrf_token_stays_until_the_id_changes(self, hash_manager):
        session = hash_manager.open()
        token = session.csrf_token()
        assert hash_manager.conclude(session) is CookieAction.SEND
        found = hash_manager.retrieve(session.id)

        assert found.csrf_token() == token
        assert found.check_csrf(token)
        assert not any(
            found.check_csrf(wrong) for wrong in ("", None, token[:-1], "é", hash_manager.open().csrf_token())
        )
        assert session.id not in token
        found.login("alice")
        assert not found.check_csrf(token)

    def test_a_csrf_token_that_is_no_text_is_wrong(self, hash_manager):
        assert not hash_manager.create().check_csrf("\ud800")

    def test_a_new_csrf_token_can_be_asked_for(self, hash_manager):
        session = hash_manager.create()
        old = session.csrf_token()
        new = session.new_csrf_token()
        session.flush()

        assert new != old
        assert hash_manager.retrieve(session.id).csrf_token() == new


class TestContent:
    def test_a_session_that_refers_to_what_was_deleted_loses_that_value_only(self, hash_manager):
        directory = hash_manager.directory
        directory.store(Person("Ann"), id="ann")
        session = hash_manager.create()
        session["user"] = [directory.get("ann")]
        session["n"] = 1
        session.flush()
        directory.delete("ann")

        assert dict(hash_manager.retrieve(session.id)) == {"n": 1}

    def test_a_reference_to_what_was_deleted_is_not_stored(self, hash_manager):
        directory = hash_manager.directory
        directory.store(Person("Ann"), id="ann")
        session, ann = hash_manager.create(), directory.get("ann")
        directory.delete("ann")
        session["user"] = ann

        with pytest.raises(BrokenReference, match="'ann'"):
            session.flush()

    def test_what_a_session_refers_to_is_no_garbage(self, hash_manager):
        directory = hash_manager.directory
        directory.store(Person("Ann"), id="ann", root=False)
        session = hash_manager.create()
        session["user"] = directory.get("ann")
        session.flush()

        assert gc(directory).ids == []
        session.destroy()
        assert gc(directory).ids == ["ann"]

    def test_modified_tells_of_a_move(self, hash_manager):
        session = hash_manager.open(hash_manager.create().id, scope=hash_manager.directory.new_scope)
        assert not session.modified
        session.regenerate()
        assert session.modified
        hash_manager.abandon(session)
        assert not session.modified

    def test_modified_tells_of_deep_changes(self, hash_manager):
        session = hash_manager.open()
        assert session.modified
        session["a"] = [1]
        session.flush()
        assert not session.modified
        session["a"].append(2)
        assert session.modified
        session["a"].pop()
        assert not session.modified
        session.set_lifetime(idle=5)
        assert session.modified

    def test_a_scope_is_asked_of_a_session_in_none(self, hash_manager):
        with pytest.raises(SettingsError, match=r"in no scope. Open it with one: manager.open\(id, scope="):
            _ = hash_manager.open().scope

    def test_what_cannot_be_stored_is_named_in_a_scope_too(self, hash_manager):
        scope = hash_manager.directory.new_scope()
        hash_manager.open(scope=scope)["x"] = object()

        with pytest.raises(NotStorable, match=r"session\['x'\]"), scope:
            pass


class TestEvents:
    @pytest.fixture
    def told(self):
        return []

    @pytest.fixture
    def listening(self, new_manager, told):
        return new_manager(idle=1800, listeners=[told.append], overlap=5)

    def test_everything_that_happens_is_told(self, listening, told, clock):
        session = listening.create()
        session["a"] = 1
        session.flush()
        one, two = listening.retrieve(session.id), listening.retrieve(session.id)
        one["b"], two["c"] = 1, 1
        one.flush()
        two.flush()
        session = listening.open(session.id)
        clock.now += 100
        session.flush()
        session.login("alice")
        session.destroy()
        listening.retrieve(session.id)
        listening.open("malformed")
        listening.create()
        clock.now += 1860
        listening.sweep()

        assert [str(event.kind) for event in told] == [
            "created", "saved", "loaded", "loaded", "saved", "merged", "saved", "loaded", "renewed", "rotated",
            "destroyed", "rejected", "rejected", "created", "expired",
        ]  # fmt: skip
        assert told[9].principal == "alice"
        assert told[9].detail == f"now {told[10].handle}"
        assert listening.stats().events["rejected"] == 2

    def test_what_was_changed_is_saved_and_not_only_renewed(self, listening, told):
        session = listening.create()
        session.set_lifetime(idle=60)
        session.flush()

        assert [str(event.kind) for event in told] == ["created", "saved"]

    def test_a_merge_is_told_of_the_session_that_moved_meanwhile(self, listening, told):
        one = listening.create()
        two = listening.retrieve(one.id)
        one["a"], two["b"] = 1, 1
        one.regenerate()
        two.flush()

        assert [str(event.kind) for event in told[2:]] == ["rotated", "merged", "saved"]
        assert told[2].detail == f"now {told[3].handle}"

    def test_threads_lose_no_count(self, listening):
        event = listening.events.event(EventKind.LOADED, bytes(32))
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            in_threads(*[lambda: [listening.events.tell([event]) for _ in range(3000)]] * 4)
        finally:
            sys.setswitchinterval(interval)

        assert listening.stats().events == {"loaded": 12000}

    def test_no_event_has_an_id_or_data(self, listening, told, caplog):
        caplog.set_level(logging.DEBUG, "kiokupy")
        ids = []
        session = listening.open()
        session["password"] = "hunter2"
        session.flush()
        ids.append(session.id)
        ids.append(session.login("alice"))
        listening.retrieve("A" * 43)
        listening.retrieve("../../etc/passwd")
        session.destroy()
        text = " ".join([caplog.text, *map(repr, told), *map(str, told)])

        assert not any(secret in text for secret in [*ids, "A" * 43, "etc/passwd", "hunter2"])
        assert "session " + told[0].handle in caplog.text
        assert [record.levelname for record in caplog.records if "rejected" in record.message] == ["WARNING"] * 2

    def test_a_listener_that_fails_does_not_harm_the_session(self, new_manager, caplog):
        def fail(event):
            raise RuntimeError("no disk")

        manager = new_manager(listeners=[fail])
        session = manager.create()

        assert manager.retrieve(session.id) is not None
        assert "a listener failed at: session" in caplog.text
        assert "no disk" in caplog.text

    def test_a_listener_can_be_called(self, new_manager):
        with pytest.raises(SettingsError, match="a listener is 5, which cannot be called"):
            new_manager(listeners=[5])

    def test_what_was_not_committed_is_not_told(self, listening, told):
        with listening.directory.new_scope() as scope:
            listening.open(scope=scope)["a"] = 1
            scope.abort()

        assert told == []

    def test_a_kind_has_a_name_and_a_level(self):
        assert {str(kind) for kind in EventKind} >= {"created", "loaded", "renewed", "rotated", "expired", "destroyed"}
        assert EventKind.REJECTED.level == logging.WARNING


class TestSweeping:
    def test_no_more_than_the_limit_goes(self, hash_manager, clock):
        for _ in range(5):
            hash_manager.create()
        clock.now += 1800

        assert [hash_manager.sweep(2), hash_manager.sweep(0), hash_manager.sweep(2), hash_manager.sweep()] == [
            2,
            0,
            2,
            1,
        ]

    def test_many_are_swept_in_batches(self, hash_manager, clock, monkeypatch):
        monkeypatch.setattr("kiokupy.sessions.sweeping.BATCH", 4)
        for _ in range(10):
            hash_manager.create()
        clock.now += 1000
        kept = hash_manager.create()
        clock.now += 850

        assert hash_manager.sweep() == 10
        assert stored(hash_manager) == [key_of(kept.id)]

    def test_a_session_in_use_is_filed_under_its_new_end(self, hash_manager, clock):
        session = hash_manager.create()
        clock.now += 1000
        hash_manager.retrieve(session.id).flush()
        clock.now += 900
        assert hash_manager.sweep() == 0
        assert marks(hash_manager) == [key_of(session.id)]
        assert hash_manager.sweep() == 0
        clock.now += 960

        assert hash_manager.sweep() == 1
        assert marks(hash_manager) == []

    def test_a_session_that_ends_later_in_this_slice_stays(self, hash_manager, clock):
        hash_manager.create()
        clock.now += 1799
        assert hash_manager.sweep() == 0
        clock.now += 1

        assert hash_manager.sweep() == 1

    def test_the_mark_of_a_session_that_was_destroyed_goes_when_its_time_is_over(self, hash_manager, clock):
        hash_manager.create().destroy()
        assert len(marks(hash_manager)) == 1
        clock.now += 1860
        assert hash_manager.sweep() == 0

        assert marks(hash_manager) == []

    def test_a_damaged_session_stays_for_fsck(self, hash_manager, clock):
        session = hash_manager.create()
        with hash_manager.directory.new_unit() as unit:
            entry = unit.root["sessions"][key_of(session.id)]
            entry.record = entry.record._replace(head=b"nonsense")
            unit.commit()
        clock.now += 1860

        assert hash_manager.sweep() == 0
        assert len(stored(hash_manager)) == 1
        assert list(hash_manager.sessions()) == []
        assert hash_manager.destroy(session.id) is True

    def test_the_sweeper_sweeps_until_the_manager_is_closed(self, new_manager, clock):
        manager = new_manager()
        manager.create()
        clock.now += 1860
        manager.start_sweeper(every=0.01)
        manager.start_sweeper(every=0.01)
        deadline = time.monotonic() + 10
        while stored(manager) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert stored(manager) == []
        sweeper = manager._sweeper
        sweeper.start()
        assert sweeper.is_running
        manager.close()

        assert not sweeper.is_running

    def test_a_sweeper_can_be_stopped_by_its_own_sweep(self):
        def sweep():
            sweeper.stop()

        sweeper = Sweeper(sweep, 0.01)
        sweeper.start()
        deadline = time.monotonic() + 10
        while sweeper.is_running and time.monotonic() < deadline:
            time.sleep(0.01)

        assert not sweeper.is_running

    def test_a_sweep_that_fails_is_logged_and_the_next_one_comes(self, caplog):
        calls = []

        def sweep():
            calls.append(1)
            raise RuntimeError("no disk")

        sweeper = Sweeper(sweep, 0.01)
        sweeper.start()
        deadline = time.monotonic() + 10
        while len(calls) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        sweeper.stop()

        assert len(calls) >= 2
        assert "a sweep failed; the next one comes" in caplog.text

    @pytest.mark.parametrize("every", [0, -1, math.nan, math.inf, "300"])
    def test_the_time_between_two_sweeps_is_a_number(self, new_manager, every):
        with pytest.raises(SettingsError, match="every is a number of seconds above 0"):
            new_manager().start_sweeper(every)


class TestStats:
    def test_sessions_are_counted(self, hash_manager, clock, monkeypatch):
        monkeypatch.setattr("kiokupy.sessions.roster._BETWEEN_COLLECTIONS", 1)
        hash_manager.create()
        clock.now += 1000
        hash_manager.create()
        clock.now += 900
        stats = hash_manager.stats()

        assert (stats.alive, stats.expired, stats.events) == (1, 1, {"created": 2})

    def test_sessions_are_counted_without_all_of_them_in_memory(self, clock, monkeypatch):
        monkeypatch.setattr(roster_module, "_BETWEEN_COLLECTIONS", 20)
        loaded = []
        with kiokupy.connect(cache_size=10) as directory:
            manager = SessionManager(directory, SessionPolicy(clock=clock))
            for _ in range(200):
                manager.create()
            clock.now += 10**5
            new_unit = directory.new_unit

            @contextmanager
            def watched():
                with new_unit() as unit:
                    yield unit
                    loaded.append(unit.connection._cache.ringlen())

            monkeypatch.setattr(directory, "new_unit", watched)
            assert manager.stats().expired == 200
            assert list(manager.sessions()) == []

        assert max(loaded) < 100

    def test_what_is_missing_in_the_store_is_told_as_everywhere(self, hash_manager, monkeypatch):
        hash_manager.create()

        def missing(self, key):
            raise POSKeyError(bytes(8))

        monkeypatch.setattr(Shelf, "find", missing)
        with pytest.raises(StoreUnreadable):
            hash_manager.stats()
        with pytest.raises(StoreUnreadable):
            list(hash_manager.sessions())


class TestStoredForm:
    def test_facts_are_written_as_they_were(self):
        facts = Facts(
            1.0, 2.0, 3.0, "a", 1.5, 60.0, math.inf, lasting=True, user_agent="u", address="i", successor=b"k"
        )

        assert head_of(facts) == (
            b"\x80\x05\x95O\x00\x00\x00\x00\x00\x00\x00(G?\xf0\x00\x00\x00\x00\x00\x00G@\x00\x00\x00\x00\x00\x00\x00G@"
            b"\x08\x00\x00\x00\x00\x00\x00\x8c\x01a\x94G?\xf8\x00\x00\x00\x00\x00\x00G@N\x00\x00\x00\x00\x00\x00G\x7f\xf0"
            b"\x00\x00\x00\x00\x00\x00\x88\x8c\x01u\x94\x8c\x01i\x94C\x01k\x94t\x94}\x94\x86\x94."
        )

    @pytest.mark.parametrize(
        "forged",
        [{"expires": "never"}, {"expires": math.nan}, {"created": None}, {"principal": 5}, {"idle": "x"},
         {"lasting": 1}, {"address": b"x"}, {"successor": "x"}, {"principal": HTTPMethod.GET}],
    )  # fmt: skip
    def test_facts_of_another_kind_stop_no_sweep(self, hash_manager, clock, forged):
        forger, other = hash_manager.create(), hash_manager.create()
        with hash_manager.directory.new_unit() as unit:
            entry = unit.root["sessions"][key_of(forger.id)]
            entry.record = entry.record._replace(head=head_of(facts_of(entry.record)._replace(**forged)))
            unit.commit()
        clock.now += 1860

        assert hash_manager.sweep() == 1
        assert stored(hash_manager) == [key_of(forger.id)]
        assert hash_manager.retrieve(other.id) is None

    def test_what_is_remembered_of_heads_does_not_grow_without_bound(self):
        records = [Record(CLASS_NAME, head_of(Facts(number, 0.0, 0.0)), b"", (), NEW) for number in range(10_000)]

        assert [facts_of(record).created for record in records] == list(range(10_000))
        assert len(facts_module._known) < 5_000

    def test_a_clock_of_whole_seconds_will_do(self, new_manager):
        manager = new_manager(clock=lambda: 1_800_000_000)

        assert manager.retrieve(manager.create().id) is not None

    def test_sessions_from_before_there_were_indexes_are_found_by_them(self, hash_manager, clock):
        session = hash_manager.open()
        session.login("alice")
        with hash_manager.directory.new_unit() as unit:
            del unit.root["principals"], unit.root["expiry"]
            unit.root["sessions"][b"x" * 32] = Entry(
                unit.root["sessions"][key_of(session.id)].record._replace(head=b"")
            )
            unit.commit()
        assert len(list(hash_manager.sessions("alice"))) == 1
        clock.now += 1860

        assert hash_manager.sweep() == 1

    def test_a_session_that_is_gone_says_so(self, hash_manager):
        session = hash_manager.create()
        session.destroy()

        with pytest.raises(SessionGone):
            session.regenerate()
