"""The session manager against a model in plain dicts: many requests, in any order, on few sessions, by two managers."""

import copy
import math
import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from session_races import check_indexes, check_nothing_is_left, shelf_of

import kiokupy
from kiokupy import SessionGone
from kiokupy.errors import TooManySessions
from kiokupy.sessions.events import EventKind
from kiokupy.sessions.ids import handle_of, key_of

pytestmark = pytest.mark.no_cover

KEYS = st.sampled_from(["a", "b", "c"])
PEOPLE = ["ann", "bob"]
IDLE, ABSOLUTE, RESOLUTION = 100, 300, 10
REMEMBERED_IDLE, REMEMBERED_ABSOLUTE = 400, 900


class Thing:
    """What has an id in the directory, and sessions refer to."""

    def __init__(self, name):
        self.name = name


@dataclass
class Stored:
    """What the model knows of a session in the store."""

    created: float
    used: float
    data: dict = field(default_factory=dict)
    principal: str | None = None
    authenticated: float | None = None
    idle: float | None = None
    absolute: float | None = None
    lasting: bool = False

    @property
    def expires(self):
        idle = self.idle or (REMEMBERED_IDLE if self.lasting else IDLE)
        absolute = self.absolute or (REMEMBERED_ABSOLUTE if self.lasting else ABSOLUTE)
        return min(self.used + idle, (self.authenticated or self.created) + absolute)

    @property
    def facts(self):
        return {name: value for name, value in vars(self).items() if name not in ("data", "used")}


class Request:
    """A request that has a session in hand."""

    def __init__(self, manager, session, at, known):
        self.manager, self.session = manager, session
        #: The id that the session stands under, and what was there when it was read; ``None``: it is not stored.
        self.at, self.known = at, known
        self.begun = known.created if known else session.held.facts.created
        self.note()

    def note(self):
        """Note the data as they are stored."""
        self.base = copy.deepcopy(list(view(self.session).items()))
        self.added, self.appended, self.changes = 0, [], {}
        self.is_over = False

    @property
    def is_changed(self):
        return list(view(self.session).items()) != self.base or self.facts != self.known.facts

    @property
    def facts(self):
        return self.known.facts | self.changes


def view(session):
    """Return a session's data for comparison."""
    return {key: ("thing", value.name) if isinstance(value, Thing) else value for key, value in session.items()}


class SessionMachine(RuleBasedStateMachine):
    requests = Bundle("requests")

    def connect(self):
        """Return the directories of the managers."""
        return [kiokupy.connect("Hash", allow_classes=[Thing])] * 2

    @initialize(overlap=st.sampled_from([0, 20]), parallel=st.sampled_from([None, 1, 2]), refuse=st.booleans())
    def begin(self, overlap, parallel, refuse):
        self.now, self.overlap, self.parallel, self.refuse = 1000.0, overlap, parallel, refuse
        self.stored, self.ways, self.dead, self.things, self.all = {}, {}, set(), [], []
        self.events, self.named, self.serial = Counter(), 0, 100
        policy = kiokupy.SessionPolicy(
            idle=IDLE,
            absolute=ABSOLUTE,
            resolution=RESOLUTION,
            overlap=overlap,
            remember_idle=REMEMBERED_IDLE,
            remember_absolute=REMEMBERED_ABSOLUTE,
            parallel=parallel,
            at_limit="refuse" if refuse else "end_oldest",
            clock=lambda: self.now,
        )
        self.managers = [kiokupy.SessionManager(directory, policy) for directory in self.connect()]
        self.manager = self.managers[0]

    def teardown(self):
        if hasattr(self, "managers"):
            check_indexes(self.manager.directory)
            if all(stored.expires < math.inf for stored in self.stored.values()):
                check_nothing_is_left(self.manager.directory, self.now + 10_000)
            for manager in self.managers:
                manager.close()

    # The model.

    def alive(self, id):
        """Return the id that a session stands under which an id leads to, or ``None``."""
        while id in self.ways and self.now < self.ways[id][1]:
            id = self.ways[id][0]
        return id if id in self.stored and self.now < self.stored[id].expires else None

    def remove(self, id):
        """Take out what stands under an id, and tell whether that was a session."""
        self.dead.add(id)
        if id in self.ways:
            target, end = self.ways.pop(id)
            return self.now < end and self.remove(target)
        self.events[EventKind.DESTROYED] += id in self.stored
        return self.stored.pop(id, None) is not None

    def take(self, request):
        """Have a request that was just opened or saved, and all others, be remembered."""
        self.all.append(request)
        return request

    def admit(self, principal, own):
        """Make room for one more session of a principal; ``False``: there is none."""
        others = [id for id in self.stored if self.alive(id) == id and self.stored[id].principal == principal]
        others = sorted((id for id in others if id != own), key=self.age_of)
        if self.parallel is None or len(others) < self.parallel:
            return True
        if self.refuse:
            return False
        for id in others[: len(others) - self.parallel + 1]:
            self.remove(id)
        return True

    def age_of(self, id):
        """Return what the oldest sessions have the least of."""
        return self.stored[id].used, key_of(id)

    def merge(self, request, current):
        """Return what is stored when a request saves its data over the current ones."""
        mine, base, data = view(request.session), dict(request.base), copy.deepcopy(current.data)
        for key in base.keys() - mine.keys():
            data.pop(key, None)
        data.update({key: value for key, value in mine.items() if key not in base or base[key] != value})
        if request.added:
            data["n"] = current.data.get("n", 0) + request.added
        if request.appended:
            data["log"] = current.data.get("log", []) + request.appended
        return copy.deepcopy(data)

    def check_saved(self, request, id, expected):
        """Take in that a request has saved its session, and compare."""
        session = request.session
        self.stored[id] = expected
        request.at, request.known = id, replace(expected)
        assert view(session) == expected.data
        assert session.held.facts.expires == expected.expires
        assert session.principal == expected.principal
        request.note()

    def written(self, request, current, id):
        """Return what a request makes of the session that stands under an id."""
        return replace(current, **request.changes, data=self.merge(request, current), used=self.now)

    def save(self, request, act, *, move=False, login=False, drops=False):
        """Let a request save its session in some way, and let the model do the same."""
        session, is_new = request.session, request.known is None
        if session.destroyed:
            with pytest.raises(SessionGone):
                act()
            return
        at = None if is_new else self.alive(request.at)
        if not is_new:
            resolution = RESOLUTION if request.known.idle is None else min(RESOLUTION, request.known.idle / 2)
            is_due = move or request.is_changed or self.now - request.known.used >= resolution
            if not is_due:
                act()
                return
            if at is None:
                with pytest.raises(SessionGone):
                    act()
                request.is_over = True
                return
        current = Stored(request.begun, self.now) if is_new else self.stored[at]
        if login and not self.admit(request.changes["principal"], at):
            known = (session.id, session.principal, view(session))
            with pytest.raises(TooManySessions):
                act()
            assert (session.id, session.principal, view(session)) == known
            request.changes = {
                name: value
                for name, value in request.changes.items()
                if name not in ("principal", "authenticated", "lasting") or name in request.earlier
            } | request.earlier
            return
        expected = self.written(request, current, at)
        if drops:
            expected.data = {}
        act()
        if is_new:
            self.events[EventKind.CREATED] += 1
            self.check_saved(request, session.id, expected)
        elif move:
            self.move(request, at, expected, leaves_a_way=self.overlap > 0 and not login)
        else:
            self.check_saved(request, at, expected)

    def move(self, request, at, expected, *, leaves_a_way):
        assert request.session.id != at
        self.events[EventKind.ROTATED] += 1
        del self.stored[at]
        if leaves_a_way:
            self.ways[at] = request.session.id, self.now + self.overlap
        else:
            self.dead.add(at)
        self.check_saved(request, request.session.id, expected)

    # What requests do.

    @rule(target=requests, number=st.integers(0, 1))
    def create(self, number):
        session = self.managers[number].create()
        self.stored[session.id] = Stored(self.now, self.now)
        self.events[EventKind.CREATED] += 1
        return self.take(Request(self.managers[number], session, session.id, replace(self.stored[session.id])))

    def opened(self, manager, session, id):
        """Return a request for a session that was opened with an id."""
        at = self.alive(id)
        assert session.is_new is (at is None)
        assert (session.id == id) is (at is not None)
        assert view(session) == (self.stored[at].data if at else {})
        known = replace(self.stored[at]) if at else None
        return self.take(Request(manager, session, at or session.id, known))

    @rule(target=requests, other=requests, number=st.integers(0, 1))
    def another_request(self, other, number):
        manager, id = self.managers[number], other.session.id
        return self.opened(manager, manager.open(id), id)

    @rule(request=requests, key=KEYS, value=st.integers(0, 2))
    def change(self, request, key, value):
        if not request.session.destroyed:
            request.session[key] = [value]

    @rule(request=requests, key=KEYS)
    def change_inside(self, request, key):
        if key in request.session:
            request.session[key].append(3)

    @rule(request=requests, key=KEYS)
    def take_away(self, request, key):
        request.session.pop(key, None)

    @rule(request=requests, by=st.integers(1, 3))
    def increment(self, request, by):
        request.session.increment("n", by)
        request.added += by

    @rule(request=requests, values=st.lists(st.integers(0, 2), min_size=1, max_size=2))
    def append(self, request, values):
        request.session.append("log", *values)
        request.appended += values

    @rule(
        request=requests,
        idle=st.sampled_from([..., 12, 60, None]),
        absolute=st.sampled_from([..., 150, None]),
        lasting=st.sampled_from([..., True, False]),
    )
    def set_lifetime(self, request, idle, absolute, lasting):
        request.session.set_lifetime(idle=idle, absolute=absolute, lasting=lasting)
        for name, value in (("idle", idle), ("absolute", absolute), ("lasting", lasting)):
            if value is not ...:
                request.changes[name] = math.inf if value is None else value

    @rule(request=requests)
    def flush(self, request):
        assume(not request.is_over)
        self.save(request, request.session.flush)

    @rule(request=requests)
    def regenerate(self, request):
        assume(not request.is_over)
        if request.known is None and not request.session.destroyed:
            old = request.session.id
            assert request.session.regenerate() == request.session.id != old
            request.at = request.session.id
            self.dead.add(old)
        else:
            self.save(request, request.session.regenerate, move=True)

    @rule(request=requests, principal=st.sampled_from(PEOPLE), remember=st.booleans())
    def login(self, request, principal, remember):
        assume(not request.is_over)
        before = request.session.principal
        request.earlier = {
            name: request.changes[name] for name in ("principal", "authenticated", "lasting") if name in request.changes
        }
        if before not in (None, principal):  # the limits of the one before are not those of the other
            request.changes = {"idle": None, "absolute": None} | request.changes
        request.changes |= {"principal": principal, "authenticated": self.now, "lasting": remember}
        self.save(
            request,
            lambda: request.session.login(principal, remember=remember),
            move=True,
            login=True,
            drops=before not in (None, principal),
        )
        if request.is_over:
            request.changes = request.earlier

    @rule(target=requests, number=st.integers(0, 1), principal=st.sampled_from(PEOPLE))
    def visitor_logs_in(self, number, principal):
        manager = self.managers[number]
        request = self.take(Request(manager, session := manager.open(), session.id, None))
        self.login(request, principal, False)
        return request

    @rule(target=requests, request=requests, number=st.integers(0, 1), twice=st.booleans())
    def two_at_once(self, request, number, twice):
        assume(not request.is_over)
        other = self.another_request(request, number)
        for one in (request, other):
            self.increment(one, 2)
            self.append(one, [5])
            self.change(one, "c" if one is request else "b", 5)
            if twice:
                self.flush(one)
                self.append(one, [6])
        self.flush(other)
        self.flush(request)
        return other

    @rule(target=requests, request=requests)
    def aborted_after_a_commit(self, request):
        manager, id = request.manager, request.session.id
        with manager.directory.new_scope() as scope:
            again = self.opened(manager, manager.open(id, scope=scope), id)
            self.serial += 1
            self.change(again, "a", self.serial)  # never what is stored, which would not be saved again
            expected = self.written(again, self.stored.get(again.at, Stored(again.begun, self.now)), again.at)
            self.events[EventKind.CREATED] += again.session.is_new
            scope.commit()
            self.check_saved(again, again.at, expected)
            again.session["a"] = [5]
            scope.abort()
            assert view(again.session) == expected.data
        return again

    @rule(request=requests)
    def destroy(self, request):
        assert request.session.destroy() is self.remove(request.at)

    @rule(request=requests)
    def invalidate(self, request):
        self.remove(request.at)
        request.session.invalidate()
        request.at, request.known, request.begun = request.session.id, None, self.now
        request.note()
        assert (dict(request.session), request.session.is_new) == ({}, True)

    # References to the directory's objects, and its transactions.

    @rule(request=requests)
    def refer(self, request):
        thing = self.new_name()
        self.things.append(thing)
        request.manager.directory.store(Thing(thing), id=thing)
        request.session["ref"] = request.manager.directory.get(thing)

    def new_name(self):
        """Return a name that no thing had: a new one of an old name would be in the sessions of the old one."""
        self.named += 1
        return f"thing {self.named}"

    def forget(self, request):
        """Let a request begin anew with no session: what its own refers to is gone, and it knows that not yet."""
        request.session = request.manager.open()
        request.at, request.known, request.begun = request.session.id, None, self.now
        request.note()

    @rule(number=st.integers(0, 1), data=st.data())
    def delete_an_object(self, number, data):
        assume(self.things)
        thing = data.draw(st.sampled_from(self.things))
        self.things.remove(thing)
        self.managers[number].directory.delete(thing)
        for request in self.all:
            if ("thing", thing) in [*view(request.session).values(), *dict(request.base).values()]:
                self.forget(request)
        for stored in self.stored.values():
            if stored.data.get("ref") == ("thing", thing):
                del stored.data["ref"]

    @rule(target=requests, other=requests, number=st.integers(0, 1), commits=st.booleans(), moves=st.booleans())
    def request_in_a_scope(self, other, number, commits, moves):
        manager, id = self.managers[number], other.session.id
        scope, thing = manager.directory.new_scope(), self.new_name()
        request = self.opened(manager, manager.open(id, scope=scope), id)
        session, at = request.session, request.at
        session["a"] = [7]
        session["ref"] = Thing(thing)
        scope.store(session["ref"], id=thing)
        self.increment(request, 1)
        if moves and not session.is_new:
            session.regenerate()
        if commits:
            is_new, current = session.is_new, self.stored.get(at, Stored(request.begun, self.now))
            expected = self.written(request, current, at)
            scope.commit()
            self.things.append(thing)
            if moves and not is_new:
                self.move(request, at, expected, leaves_a_way=self.overlap > 0)
            else:
                self.events[EventKind.CREATED] += is_new
                self.check_saved(request, session.id if is_new else at, expected)
        else:
            scope.abort()
        scope.close()
        if not commits:
            self.all.remove(request)
            request = self.opened(manager, session, id)
        assert manager.directory.exists(thing) is commits
        return request

    # What is done with many sessions.

    @rule(number=st.integers(0, 1), principal=st.sampled_from(PEOPLE))
    def destroy_all(self, number, principal):
        doomed = [id for id, stored in self.stored.items() if stored.principal == principal]
        assert self.managers[number].destroy_all(principal) == len(doomed)
        for id in doomed:
            self.remove(id)

    @rule(number=st.integers(0, 1), principal=st.sampled_from(PEOPLE), request=requests)
    def destroy_all_others(self, number, principal, request):
        kept = self.alive(request.at) or request.at
        doomed = [id for id, stored in self.stored.items() if stored.principal == principal and id != kept]
        assert self.managers[number].destroy_all(principal, keep=request.session) == len(doomed)
        for id in doomed:
            self.remove(id)

    @rule(number=st.integers(0, 1), principal=st.sampled_from(PEOPLE), request=requests)
    def end(self, number, principal, request):
        id = request.at
        is_theirs = id in self.stored and self.stored[id].principal == principal
        assert self.managers[number].end(principal, handle_of(key_of(id))) is is_theirs
        if is_theirs:
            self.remove(id)

    @rule(number=st.integers(0, 1), limit=st.sampled_from([None, 0, 1, 2]))
    def sweep(self, number, limit):
        over = [id for id, stored in self.stored.items() if stored.expires <= self.now]
        swept = self.managers[number].sweep(limit)
        assert swept == len(over[:limit])
        self.events[EventKind.EXPIRED] += swept
        left = {key_of(id): id for id in [*self.stored, *self.ways]}
        left = {left[key] for key in shelf_of(self.manager.directory)[0]}
        gone = (self.stored.keys() | self.ways.keys()) - left
        assert all(id in over or self.ways[id][1] <= self.now for id in gone)
        assert len(gone & set(over)) == swept
        for id in gone:
            self.stored.pop(id, None)
            self.ways.pop(id, None)
        self.dead |= gone

    @rule(seconds=st.sampled_from([1, 9, 15, 50, 99, 250]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def the_store_is_as_the_model_says(self):
        if not hasattr(self, "managers"):
            return
        for number, id in enumerate([*self.stored, *self.ways, *self.dead]):
            at, found = self.alive(id), self.managers[number % 2].retrieve(id)
            assert (None if found is None else view(found)) == (None if at is None else self.stored[at].data)

    @invariant()
    def each_principal_has_the_sessions_that_the_model_says(self):
        if not hasattr(self, "managers"):
            return
        alive = [id for id in self.stored if self.alive(id) == id]
        for principal in [*PEOPLE, None]:
            found = {
                info.handle: (
                    info.principal,
                    info.used.timestamp(),
                    info.authenticated and info.authenticated.timestamp(),
                )
                for info in self.manager.sessions(principal)
            }
            assert found == {
                handle_of(key_of(id)): (stored.principal, stored.used, stored.authenticated)
                for id, stored in self.stored.items()
                if id in alive and principal in (None, stored.principal)
            }
        stats = self.manager.stats()
        assert (stats.alive, stats.expired) == (len(alive), len(self.stored) - len(alive))

    @invariant()
    def the_events_are_counted(self):
        if hasattr(self, "managers"):
            counts = sum((manager.events.counts for manager in self.managers), Counter())
            assert {kind: counts[kind] for kind in self.events} == self.events


class FileSessionMachine(SessionMachine):
    """The same, on a file, and with restarts."""

    def connect(self):
        if not hasattr(self, "folder"):
            self.folder = tempfile.TemporaryDirectory()
        return [kiokupy.connect("File", path=Path(self.folder.name) / "store.fs", allow_classes=[Thing])] * 2

    @rule()
    def restart(self):
        if self.named:  # requests may have objects of a directory that is closed now
            for request in self.all:
                self.forget(request)
        self.manager.directory.close()
        for manager, directory in zip(self.managers, self.connect(), strict=True):
            manager.directory = directory

    def teardown(self):
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


class SQLiteSessionMachine(SessionMachine):
    """The same, on a database, and with two directories, as of two processes."""

    def connect(self):
        self.folder = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self.folder.name) / 'store.sqlite'}"
        return [kiokupy.connect(url, allow_classes=[Thing]) for _ in range(2)]

    def teardown(self):
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


SessionMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
FileSessionMachine.TestCase.settings = settings(max_examples=12, stateful_step_count=30, deadline=None)
SQLiteSessionMachine.TestCase.settings = settings(max_examples=6, stateful_step_count=25, deadline=None)
TestHash = SessionMachine.TestCase
TestFile = FileSessionMachine.TestCase
TestSQLite = SQLiteSessionMachine.TestCase
