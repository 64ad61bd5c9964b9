"""Attacks on sessions, one test for each; ``docs/security.rst`` says which of them other modules test."""

import ast
import base64
import hashlib
import logging
import pickle
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from session_races import last_write, stored
from ZODB.MappingStorage import MappingStorage

import kiokupy
from kiokupy import KiokuError, NotLoadable, SessionGone, SessionManager, SessionPolicy, SettingsError, resolving
from kiokupy.entry import Entry, Record
from kiokupy.errors import ConflictError, StoreUnreadable
from kiokupy.sessions.facts import CLASS_NAME
from kiokupy.sessions.ids import handle_of, key_of
from kiokupy.sessions.manager import CookieAction
from kiokupy.typemap import TypeMap
from kiokupy.web.cookies import Cookie

PACKAGE = Path(kiokupy.__file__).parent


@dataclass
class Basket:
    owner: str = ""


@pytest.fixture
def new_manager(clock):
    """Return a maker of managers in memory, each on a directory of its own."""
    directories = []

    def make(*, listeners=(), **options):
        directories.append(kiokupy.connect("Hash", allow_classes=[Basket]))
        policy = SessionPolicy(**{"idle": 1800, "absolute": 7200, "clock": clock, **options})
        return SessionManager(directories[-1], policy, listeners=listeners)

    yield make
    for directory in directories:
        directory.close()


@pytest.fixture
def manager(new_manager):
    return new_manager()


def imports(*folders):
    """Return what the modules of the package in some folders import, by module."""
    found = {}
    for path in (path for folder in folders for path in (PACKAGE / folder).rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module)
        found[path.relative_to(PACKAGE).as_posix()] = names
    return found


class TestGuessing:
    def test_no_id_comes_from_a_generator_that_can_be_predicted(self, manager):
        found = imports("sessions", "web")

        assert [name for name, names in found.items() if "uuid" in names] == []
        assert [name for name, names in found.items() if "random" in names] == ["sessions/sweeping.py"]  # its pauses
        assert "secrets" in found["sessions/ids.py"]

    def test_seeding_the_interpreters_generator_repeats_no_id(self, manager):
        ids = []
        for _ in range(2):
            random.seed(0)
            ids.append(manager.create().id)

        assert ids[0] != ids[1]

    def test_an_id_is_looked_up_by_its_hash_and_never_compared(self, manager):
        class Watched(str):
            def _compared(self, other):
                raise AssertionError("an id was compared")

            __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = _compared
            __hash__ = None

        session = manager.create()

        assert manager.retrieve(Watched(session.id)) is not None
        assert manager.retrieve(Watched("A" * 43)) is None
        assert manager.destroy(Watched(session.id)) is True

    def test_a_handle_opens_nothing_and_ends_no_session_of_another_principal(self, manager):
        session = manager.open()
        session.login("alice")
        (info,) = manager.sessions("alice")

        assert manager.retrieve(info.handle) is None
        assert manager.destroy(info.handle) is False
        assert manager.end("mallory", info.handle) is False
        assert manager.end("alice", info.handle[:8]) is False
        assert manager.retrieve(session.id) is not None


POISONED = [
    None, 0, b"A" * 43, ["A" * 43], "", "\0" * 43, "A" * 42 + "\0", "A" * 43 + "\n", "\n" + "A" * 43, "A" * 42 + "=",
    "../" * 14 + "A", "/etc/passwd".ljust(43, "A"), "A" * 1_000_000, "\uff21" * 43, "\u0660" * 43, "\ud800" * 43, "%41" * 14 + "A",
    "sessions", "kiokupy", "__class__", "' OR ''='".ljust(43), "0" * 64, pickle.dumps("x").decode("latin-1"),
]  # fmt: skip


class TestPoisonedIds:
    @pytest.mark.parametrize("id", POISONED, ids=lambda value: ascii(value)[:20])
    def test_what_is_no_id_finds_ends_and_writes_nothing(self, manager, id):
        manager.create()
        before = last_write(manager)

        assert manager.retrieve(id) is None
        assert manager.open(id).is_new
        assert id is None or manager.destroy(id) is False
        assert manager.conclude(manager.open(id, lazy=True)) is CookieAction.KEEP
        assert last_write(manager) == before

    @pytest.mark.parametrize("id", [id for id in POISONED if id], ids=lambda value: ascii(value)[:20])
    def test_what_is_no_id_is_told_from_an_unknown_one_before_the_store_is_asked(self, new_manager, id):
        said = []
        manager = new_manager(listeners=[lambda event: said.append(event.detail)])
        manager.close()
        manager.retrieve(id)

        assert said == ["it cannot be an id"]

    @pytest.mark.parametrize("form", [bytes.hex, lambda key: base64.urlsafe_b64encode(key).decode().rstrip("="), repr])
    def test_what_stands_in_the_store_is_no_id(self, manager, form):
        session = manager.create()

        assert manager.retrieve(form(key_of(session.id))) is None

    def test_an_id_of_the_applications_objects_is_no_session(self, manager):
        for id in ("basket", "A" * 43):
            manager.directory.store(Basket("alice"), id=id)

            assert manager.retrieve(id) is None
            assert manager.destroy(id) is False
            assert manager.directory.exists(id)

    def test_what_a_client_sends_never_reaches_an_unpickler(self):
        serializers = {"pickle", "marshal", "shelve", "zodbpickle", "yaml", "kiokupy.expand", "kiokupy.pickles"}
        found = {**imports("web"), "sessions/ids.py": imports("sessions")["sessions/ids.py"]}

        assert {name: names & serializers for name, names in found.items() if names & serializers} == {}


class TestFixation:
    def test_a_session_of_the_attackers_own_that_was_planted_is_dead_after_the_login(self, manager):
        planted = manager.create()
        planted["language"] = "en"
        planted.flush()
        victim = manager.open(planted.id)
        victim.login("alice")

        assert manager.retrieve(planted.id) is None
        assert manager.retrieve(victim.id).principal == "alice"

    def test_the_overlap_of_a_moved_session_does_not_lead_to_a_login(self, new_manager):
        manager = new_manager(overlap=60)
        planted = manager.create().id
        session = manager.open(planted)
        session.regenerate()
        assert manager.retrieve(planted) is not None
        session.login("alice")

        assert manager.retrieve(planted) is None

    def test_a_principal_that_is_set_without_login_moves_the_session_too(self, manager):
        planted = manager.create().id
        victim = manager.open(planted)
        victim.principal = "alice"
        manager.conclude(victim)

        assert manager.retrieve(planted) is None

    def test_an_id_that_was_ended_is_never_given_again(self, manager):
        session = manager.create()
        ids = {session.id}
        for _ in range(20):
            session.invalidate()
            session["a"] = 1
            session.flush()
            ids.add(session.id)

        assert len(ids) == 21
        assert stored(manager) == [key_of(session.id)]

    def test_after_invalidate_there_is_no_usable_id_until_something_is_stored(self, manager):
        session = manager.create()
        old = session.id
        session.invalidate()

        assert session.id not in (old, "", None)
        assert manager.retrieve(session.id) is manager.retrieve(old) is None
        assert manager.conclude(session) is CookieAction.KEEP
        assert stored(manager) == []


ENDINGS = {
    "destroy": lambda manager, clock, session: manager.destroy(session.id),
    "destroy_all": lambda manager, clock, session: manager.destroy_all("alice"),
    "end": lambda manager, clock, session: manager.end("alice", handle_of(key_of(session.id))),
    "invalidate": lambda manager, clock, session: manager.open(session.id).invalidate(),
    "login": lambda manager, clock, session: manager.open(session.id).login("alice"),
    "regenerate": lambda manager, clock, session: manager.open(session.id).regenerate(),
    "expiry": lambda manager, clock, session: setattr(clock, "now", clock.now + 7200),
    "sweep": lambda manager, clock, session: (setattr(clock, "now", clock.now + 7200), manager.sweep()),
    "another login": lambda manager, clock, session: manager.open().login("alice"),
}


CHANGES = {
    "data": lambda slow: None,
    "principal": lambda slow: setattr(slow, "principal", "mallory"),
    "login": lambda slow: slow.login("alice"),
    "regenerate": lambda slow: slow.regenerate(),
    "lifetime": lambda slow: slow.set_lifetime(idle=None, absolute=None),
}


class TestResurrection:
    @pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
    @pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
    def test_no_change_brings_an_ended_session_back(self, new_manager, clock, ending, change):
        manager = new_manager(parallel=1)
        session = manager.open()
        session.login("alice")
        slow = manager.open(session.id)
        slow["basket"] = "full"
        ending(manager, clock, session)
        before = stored(manager)

        def go_on():
            change(slow)
            manager.conclude(slow)

        with pytest.raises(SessionGone):
            go_on()
        assert stored(manager) == before
        assert manager.retrieve(session.id) is None

    def test_a_scope_does_not_bring_an_ended_session_back_and_its_objects_are_not_stored(self, manager):
        session = manager.create()
        slow = manager.open(session.id, scope=manager.directory.new_scope)
        slow["basket"] = "full"
        slow.scope.store(Basket("alice"), id="basket")
        manager.destroy(session.id)

        with pytest.raises(SessionGone):
            manager.conclude(slow)
        assert stored(manager) == []
        assert not manager.directory.exists("basket")


class TestFlooding:
    def test_unknown_ids_write_nothing(self, manager):
        before = last_write(manager)
        for number in range(100):
            session = manager.open(f"{number:043}", lazy=True)
            session.get("a"), session.principal, session.pop_flash()
            session.invalidate()
            assert manager.conclude(session) is CookieAction.DELETE

        assert last_write(manager) == before

    def test_logins_beyond_the_limit_do_not_fill_the_store(self, new_manager):
        manager = new_manager(parallel=3)
        for _ in range(20):
            manager.open().login("alice")
        with manager.directory.new_unit() as unit:
            principals = len(unit.root["principals"])

        assert len(stored(manager)) == 3
        assert principals == 4  # and one that logins meet in

    def test_what_moves_leave_in_the_index_is_swept(self, manager, clock):
        session = manager.create()
        for _ in range(50):
            session.regenerate()
        clock.now += 7200 + 60
        manager.sweep()
        with manager.directory.new_unit() as unit:
            assert [len(unit.root[name]) for name in ("sessions", "expiry", "principals")] == [0, 0, 0]

    def test_a_cookie_is_no_larger_than_browsers_keep(self):
        with pytest.raises(SettingsError, match="the cookie's name is"):
            Cookie("x" * 4053)

        assert len(Cookie("x" * 4052).name) + 43 < 4096


class TestStolenStore:
    def test_no_id_can_be_read_from_the_store(self, tmp_path):
        with kiokupy.connect("File", path=tmp_path / "s.fs") as directory:
            manager = SessionManager(directory, SessionPolicy(overlap=60))
            session = manager.create()
            ids = [session.id, session.regenerate(), session.login("alice")]
            session["token"] = token = session.csrf_token()
            session.flash("hello")
            session.flush()
        content = b"".join(path.read_bytes() for path in tmp_path.iterdir())

        assert hashlib.sha256(ids[-1].encode()).digest() in content
        assert [id for id in ids if id.encode() in content] == []
        assert token not in ids


def put(manager, **parts):
    """Write a record as a session's, past the manager; return the session's id."""
    session = manager.open()
    session.login("alice")
    with manager.directory.new_unit() as unit:
        entry = unit.root["sessions"][key_of(session.id)]
        entry.record = entry.record._replace(**parts)
        unit.commit()
    return session.id


def call(module, name, argument):
    """Return pickles that call a function, in each way that a pickle can."""
    text = argument.encode()
    short = b"\x8c" + bytes([len(text)]) + text
    stacked = b"\x8c" + bytes([len(module)]) + module.encode() + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"
    named = f"c{module}\n{name}\n".encode()
    return {
        "REDUCE": b"\x80\x04" + named + short + b"\x85R.",
        "STACK_GLOBAL": b"\x80\x04" + stacked + short + b"\x85R.",
        "INST": b"\x80\x04(" + short + f"i{module}\n{name}\n.".encode(),
        "OBJ": b"\x80\x04(" + named + short + b"o.",
        "NEWOBJ": b"\x80\x04" + named + short + b"\x85\x81.",
        "within data": b"\x80\x04}\x8c\x01a" + named + short + b"\x85Rs.",
    }


def hostile_pickles(marker):
    found = {}
    for name, pickled in call("os", "system", f"touch {marker}").items():
        found[f"os.system by {name}"] = pickled
    for name, pickled in call("builtins", "eval", f"open({str(marker)!r}, 'w')").items():
        found[f"eval by {name}"] = pickled
    for module, name in [("kiokupy.entry", "Entry"), ("kiokupy.typemap", "TypeMap"), ("kiokupy.rules", "Rule"),
                         ("kiokupy.expand", "Expander"), ("kiokupy.sessions.session", "Session"),
                         ("kiokupy.sessions.manager", "SessionManager"), ("builtins", "getattr"),
                         ("builtins", "object"), ("session_races", "Clock"), ("functools", "partial"),
                         ("operator", "attrgetter"), ("copyreg", "_reconstructor"), ("importlib", "import_module")]:  # fmt: skip
        found[f"{module}:{name}"] = f"\x80\x04c{module}\n{name}\n.".encode("latin-1")
    for name, pickled in {"an extension": b"\x80\x04\x82\x01.", "a path": b"\x80\x04\x8c\x11test_attacks.Basket\x93.",
                          "a record of ZODB": b"\x80\x04K\x01Q."}.items():  # fmt: skip
        found[name] = pickled
    return found


class TestWrittenStore:
    """Who can write the store writes what it likes; it runs no code by that in the processes that read it."""

    @pytest.mark.parametrize("name", hostile_pickles("x"))
    @pytest.mark.parametrize("part", ["state", "head"])
    def test_a_hostile_pickle_is_refused_and_not_run(self, manager, tmp_path, part, name):
        marker = tmp_path / "was-here"
        id = put(manager, **{part: hostile_pickles(marker)[name]})

        def used():
            session = manager.open(id)
            session["a"] = 1
            session.flush()

        for use in (used, lambda: dict(manager.retrieve(id)), lambda: manager.open(id).login("bob")):
            with pytest.raises(NotLoadable):
                use()
        list(manager.sessions()), list(manager.sessions("alice")), manager.stats(), manager.sweep()
        assert manager.destroy(id) is True
        assert not marker.exists()

    @pytest.mark.parametrize("class_name", ["os:system", "test_attacks:Basket", "kiokupy.sessions.session:Session"])
    def test_a_record_of_another_class_is_no_session(self, manager, class_name):
        id = put(manager, class_name=class_name)

        with pytest.raises(NotLoadable):
            manager.retrieve(id)

    def test_a_reference_that_is_not_there_is_refused(self, manager):
        state = b"\x80\x05}\x8c\x01ackiokupy.entry\nref\nK\x07\x8c\x0dtest_attacks:B\x86Rs."

        with pytest.raises(NotLoadable):
            dict(manager.retrieve(put(manager, state=state)))

    def test_a_session_and_its_owner_can_be_forged(self, manager):
        """What is to be expected: the store says who somebody is."""
        id, content = "A" * 43, pickle.dumps({"is_admin": True})
        forged = manager.open()
        forged.login("alice")
        with manager.directory.new_unit() as unit:
            record = unit.root["sessions"][key_of(forged.id)].record
            unit.root["sessions"][key_of(id)] = Entry(Record(CLASS_NAME, record.head, content, (), record.flags))
            unit.commit()

        assert manager.retrieve(id).principal == "alice"
        assert dict(manager.retrieve(id)) == {"is_admin": True}

    def test_an_allowed_class_itself_can_be_given_attributes(self, manager, monkeypatch):
        """A limit of the allow-list: so what is loaded may not be trusted more than the store."""
        monkeypatch.setattr(Basket, "is_paid", False, raising=False)
        state = b"\x80\x04}\x8c\x01actest_attacks\nBasket\nN}\x8c\x07is_paid\x88s\x86bs."
        dict(manager.retrieve(put(manager, state=state)))

        assert Basket().is_paid is True

    def test_a_built_in_class_cannot(self, manager):
        state = b"\x80\x04}\x8c\x01acdatetime\ndatetime\nN}\x8c\x03now\x88s\x86bs."

        with pytest.raises(NotLoadable):
            dict(manager.retrieve(put(manager, state=state)))

    def hostile_record(self, manager, marker):
        """Return a record of ZODB's own in place of the tree of sessions, with the oid and the state it replaces."""
        command = f"touch {marker}".encode()
        run = b"cos\nsystem\nX" + len(command).to_bytes(4, "little") + command + b"\x85R."
        return b"\x80\x03ckiokupy.entry\nEntryTree\n.\x80\x03" + run

    @pytest.mark.parametrize("whose", ["nobody's", "somebody's"])
    def test_a_hostile_record_of_zodb_is_not_run_when_it_is_loaded_nor_to_resolve_a_conflict(
        self, place, tmp_path, whose
    ):
        if place.name == "ZEO" and whose == "somebody's":
            pytest.skip("its server resolves conflicts, and trusts its clients")
        marker = tmp_path / "was-here"
        with place.connect() as directory:
            manager = SessionManager(directory)
            manager.create()
            with directory.new_unit() as mine:
                tree = mine.root["sessions"]
                assert len(tree) == 1
                with directory.new_unit() as theirs:
                    record = self.hostile_record(manager, marker)
                    theirs.connection.put(tree._p_oid, record, tree._p_serial)
                    theirs.commit()
                    theirs.connection.forget()
                if whose == "somebody's":
                    tree[b"x" * 32] = Entry(Record("x:X", None, b"", (), 0))
                    with pytest.raises(ConflictError):
                        mine.commit()
            with pytest.raises(KiokuError):
                manager.create()

        assert not marker.exists()

    def test_what_may_be_loaded_may_be_in_a_conflict(self):
        check = resolving.checker(TypeMap([Basket]).find)
        names = (b"test_attacks\nBasket\n", b"kiokupy.entry\nEntry\n", b"datetime\ndate\n")
        for name in (*names, b"kiokupy.entry\nrestore\nX\x01\x00\x00\x00aN\x86R"):
            record = b"\x80\x03ckiokupy.entry\nEntryTree\n.\x80\x03c" + name + b"."

            assert check(record) == record

    def test_a_storage_that_resolves_no_conflicts_needs_no_check(self):
        storage = MappingStorage()
        resolving.install(storage, bytes)

        assert not hasattr(storage, "_crs_untransform_record_data")

    @pytest.mark.parametrize("readonly", [False, True])
    @pytest.mark.parametrize("before", [b"", b"\x80\x03K\x00.", b"\x80\x03K\x05.\x80\x03C\x01aC\x01b\x86."])
    def test_a_hostile_index_of_a_file_is_refused_and_not_run(self, tmp_path, before, readonly):
        marker, path = tmp_path / "was-here", tmp_path / "s.fs"
        kiokupy.connect("File", path=path).close()
        command = f"touch {marker}".encode()
        run = b"\x80\x03cos\nsystem\nX" + len(command).to_bytes(4, "little") + command + b"\x85R."
        Path(f"{path}.index").write_bytes(before + run)

        with pytest.raises(StoreUnreadable, match=r"names (os|posix):system"):
            kiokupy.connect("File", path=path, readonly=readonly)
        assert not marker.exists()
        Path(f"{path}.index").unlink()
        kiokupy.connect("File", path=path).close()

    @pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x80\x03K\x05.", b"\x80\x03K\x05.\x80\x03C\x01a"])
    def test_a_damaged_index_is_made_anew(self, tmp_path, damage):
        path = tmp_path / "s.fs"
        with kiokupy.connect("File", path=path) as directory:
            directory.store({"a": 1}, id="x")
        Path(f"{path}.index").write_bytes(damage)

        with kiokupy.connect("File", path=path) as directory:
            assert directory.get("x") == {"a": 1}


class TestTalk:
    def test_nothing_that_is_said_has_an_id_or_data(self, new_manager, caplog):
        said = []
        caplog.set_level(logging.DEBUG)
        manager = new_manager(listeners=[lambda event: said.append(f"{event} {event!r}")], overlap=5)
        session = manager.open()
        ids = [session.id]
        for step in (
            lambda: session.update(password="hunter2"),
            lambda: session.flash("hunter2"),
            session.flush,
            session.regenerate,
            lambda: session.login("alice"),
            lambda: manager.open(ids[0]).is_new,
            session.invalidate,
            lambda: session.update(password="hunter2"),
            session.flush,
        ):
            step()
            ids.append(session.id)
            said += [repr(session), str(session), repr(session.held), repr(session.device)]
        said += [repr(info) for info in manager.sessions()] + [repr(manager.stats()), repr(manager)]
        said.append(caplog.text)

        assert len(set(ids)) > 3
        assert [id for id in ids if any(id in text for text in said)] == []
        assert [text for text in said if "hunter2" in text] == []

    def test_errors_name_no_id(self, manager):
        session = manager.create()
        session["socket"] = open  # a function
        with pytest.raises(KiokuError) as refused:
            session.flush()
        del session["socket"]
        session.destroy()
        with pytest.raises(SessionGone) as gone:
            session.flush()

        assert [error for error in (refused, gone) if session.id in f"{error.value!r} {error.value}"] == []
