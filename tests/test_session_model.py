"""The session manager against a model in plain dicts: many requests, in any order, on few sessions."""

import copy
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

import kiokupy
from kiokupy import SessionGone

KEYS = st.sampled_from(["a", "b", "c"])
IDLE, ABSOLUTE, RESOLUTION = 100, 300, 10


@dataclass
class Stored:
    """What the model knows of a session in the store."""

    data: dict
    created: float
    used: float

    def is_over(self, now):
        return now >= min(self.used + IDLE, self.created + ABSOLUTE)


@dataclass
class Request:
    """A request that has a session in hand."""

    session: kiokupy.Session
    base: dict


class SessionMachine(RuleBasedStateMachine):
    requests = Bundle("requests")

    def connect(self):
        return kiokupy.connect("Hash")

    @initialize()
    def begin(self):
        self.now = 1000.0
        self.stored = {}
        self.dead = set()
        self.directory = self.connect()
        policy = kiokupy.SessionPolicy(IDLE, ABSOLUTE, RESOLUTION, clock=lambda: self.now)
        self.manager = kiokupy.SessionManager(self.directory, policy)

    def teardown(self):
        if hasattr(self, "directory"):
            self.directory.close()

    def write(self, request, id, was):
        """Let the model do what saving a session does."""
        mine, base = dict(request.session), request.base
        current = self.stored.pop(was, None) or Stored({}, self.now, self.now)
        for key in base.keys() - mine.keys():
            current.data.pop(key, None)
        current.data.update({key: value for key, value in mine.items() if key not in base or base[key] != value})
        current.data, current.used = copy.deepcopy(current.data), self.now
        self.stored[id] = current
        request.base = copy.deepcopy(current.data)

    @rule(target=requests)
    def create(self):
        session = self.manager.create()
        self.stored[session.id] = Stored({}, self.now, self.now)
        return Request(session, {})

    @rule(target=requests, other=requests)
    def another_request(self, other):
        id = other.session.id
        session = self.manager.open(id)
        known = id in self.stored and not self.stored[id].is_over(self.now)
        assert session.is_new is not known
        assert (session.id == id) is known
        assert dict(session) == (self.stored[id].data if known else {})
        return Request(session, copy.deepcopy(dict(session)))

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

    @rule(request=requests, move=st.booleans())
    def save(self, request, move):
        session = request.session
        was, new = session.id, session.is_new
        gone = session.destroyed or (not new and (was not in self.stored or self.stored[was].is_over(self.now)))
        due = move or new or self.differs(request) or self.now - session.held.facts.used >= RESOLUTION
        if gone and (due or session.destroyed):
            with pytest.raises(SessionGone):
                session.regenerate() if move else session.flush()
            return
        if move:
            session.regenerate()
            assert session.id != was
            self.dead.add(was)
            if new:
                return
        else:
            session.flush()
        if due:
            self.write(request, session.id, was)
            assert dict(session) == self.stored[session.id].data

    def differs(self, request):
        return dict(request.session) != request.base

    @rule(request=requests)
    def destroy(self, request):
        id = request.session.id
        assert request.session.destroy() is (id in self.stored)
        self.stored.pop(id, None)
        self.dead.add(id)

    @rule(seconds=st.sampled_from([1, 9, 50, 99]))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def the_store_is_as_the_model_says(self):
        if not hasattr(self, "manager"):
            return
        for id, expected in self.stored.items():
            found = self.manager.retrieve(id)
            assert (None if found is None else dict(found)) == (None if expected.is_over(self.now) else expected.data)
        assert all(self.manager.retrieve(id) is None for id in self.dead)


class FileSessionMachine(SessionMachine):
    """The same, on a file, and with restarts."""

    def connect(self):
        if not hasattr(self, "folder"):
            self.folder = tempfile.TemporaryDirectory()
        return kiokupy.connect("File", path=Path(self.folder.name) / "store.fs")

    @rule()
    def restart(self):
        self.directory.close()
        self.directory = self.manager.directory = self.connect()

    def teardown(self):
        super().teardown()
        if hasattr(self, "folder"):
            self.folder.cleanup()


SessionMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
FileSessionMachine.TestCase.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
TestHash = SessionMachine.TestCase
TestFile = FileSessionMachine.TestCase
