"""The session manager: what its verbs promise, and what Dancer::Session::KiokuDB got wrong."""

import base64
import hashlib
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import pytest
from session_races import last_write, stored

import kiokupy
from kiokupy import SessionGone, SessionManager, SessionPolicy, SettingsError
from kiokupy.entry import Entry, Record
from kiokupy.errors import ConflictError, NotLoadable, NotStorable, StoreError, UnknownBackend
from kiokupy.sessions import ids as ids_module
from kiokupy.sessions import keeping as keeping_module
from kiokupy.sessions.content import DirectoryObjects, SessionCodec
from kiokupy.sessions.facts import Facts
from kiokupy.sessions.manager import CookieAction
from kiokupy.sessions.shelf import Shelf


@dataclass
class Item:
    name: str
    tags: list = field(default_factory=list)


class Gadget:
    pass


class Vector:
    """Compared item by item, as arrays are."""

    __hash__ = None

    def __eq__(self, other):
        raise ValueError("the truth of an array is ambiguous")


@pytest.fixture
def manager(place, policy):
    with place.connect(allow_classes=[Item]) as directory:
        yield SessionManager(directory, policy)


@pytest.fixture
def hash_manager(policy):
    with kiokupy.connect("Hash", allow_classes=[Item]) as directory:
        yield SessionManager(directory, policy)


class TestOnEveryBackend:
    def test_a_created_session_is_stored_at_once(self, manager):
        session = manager.create()

        assert not session.is_new
        assert dict(manager.retrieve(session.id)) == {}

    def test_a_session_can_be_changed_after_it_was_created(self, manager):
        session = manager.create()
        session["user"] = 1
        session.flush()
        session["user"] = 2
        session.flush()

        assert dict(manager.retrieve(session.id)) == {"user": 2}

    def test_a_retrieved_session_can_be_changed(self, manager):
        id = manager.create().id
        for number in range(3):
            session = manager.retrieve(id)
            session["n"] = number
            manager.flush(session)

        assert manager.retrieve(id)["n"] == 2

    def test_a_second_session_keeps_the_first(self, manager):
        first, second = manager.create(), manager.create()

        assert manager.retrieve(first.id) is not None
        assert first.id != second.id

    def test_a_session_can_be_destroyed_twice(self, manager):
        session = manager.create()

        assert manager.destroy(session) is True
        assert manager.destroy(session) is False
        assert manager.destroy(session.id) is False
        assert manager.retrieve(session.id) is None

    def test_a_destroyed_session_is_not_brought_back_by_a_slow_request(self, manager):
        slow = manager.retrieve(manager.create().id)
        manager.destroy(slow.id)
        slow["user"] = "bob"

        with pytest.raises(SessionGone):
            manager.flush(slow)
        assert stored(manager) == []

    def test_only_sessions_are_retrieved(self, manager):
        session = manager.create()
        for id in (session.id, hashlib.sha256(session.id.encode()).hexdigest()):
            manager.directory.store({"secret": 1}, id=id)
        manager.destroy(session)

        assert manager.retrieve(session.id) is None
        assert manager.destroy(session.id) is False
        assert manager.directory.exists(session.id)

    def test_objects_in_a_session_keep_identity_and_nested_changes_are_noticed(self, manager):
        item = Item("lamp")
        session = manager.create()
        session["cart"], session["latest"] = [item, item], item
        session.flush()

        again = manager.retrieve(session.id)
        again["latest"].tags.append("new")
        again.flush()

        found = manager.retrieve(session.id)
        assert found["cart"][0] is found["cart"][1] is found["latest"]
        assert found["cart"][0].tags == ["new"]

    def test_requests_that_change_different_keys_at_the_same_time_both_survive(self, manager):
        session = manager.create()
        session.update(a=1, b={"x": 1}, c=1, gone=1)
        session.flush()
        one, two = manager.retrieve(session.id), manager.retrieve(session.id)

        one["a"], one["new"] = 2, 1
        del one["c"]
        two["b"]["x"] = 2
        del two["gone"]
        one.flush()
        two.flush()

        assert dict(manager.retrieve(session.id)) == {"a": 2, "b": {"x": 2}, "new": 1} == dict(two)

    def test_threads_that_change_one_session_lose_no_key(self, manager):
        id = manager.create().id

        def change(name):
            for number in range(5):
                session = manager.retrieve(id)
                session[name] = number
                session.flush()

        threads = [threading.Thread(target=change, args=(f"k{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert dict(manager.retrieve(id)) == {f"k{number}": 4 for number in range(8)}

    def test_regenerate_moves_the_session_and_the_old_id_is_dead(self, manager):
        session = manager.create()
        old = session.id
        session["a"] = 1
        new = session.regenerate()

        assert new == session.id != old
        assert manager.retrieve(old) is None
        assert dict(manager.retrieve(new)) == {"a": 1}
        assert len(stored(manager)) == 1

    def test_a_request_with_the_old_id_cannot_save_after_regenerate(self, manager):
        session = manager.create()
        slow = manager.retrieve(session.id)
        session.regenerate()
        slow["a"] = 1

        with pytest.raises(SessionGone):
            slow.flush()
        with pytest.raises(SessionGone):
            slow.regenerate()

    def test_retrieving_writes_nothing(self, manager, clock):
        session = manager.create()
        before = last_write(manager)
        clock.now += 600
        for id in (session.id, "A" * 43, "x", "", None, 5, "é" * 43, f"{session.id}\n"):
            manager.retrieve(id)
            dict(manager.open(id))
        clock.now += 7200
        manager.retrieve(session.id)

        assert last_write(manager) == before

    def test_many_sessions_are_kept_apart(self, manager):
        sessions = [manager.create() for _ in range(40)]
        for number, session in enumerate(sessions):
            session["n"] = number
            session.flush()

        assert [manager.retrieve(session.id)["n"] for session in sessions] == list(range(40))


def test_sessions_survive_a_restart(lasting_place, policy):
    with lasting_place.connect(allow_classes=[Item]) as directory:
        session = SessionManager(directory, policy).create()
        session["item"] = Item("lamp")
        session.flush()
    with lasting_place.connect(allow_classes=[Item]) as directory:
        assert SessionManager(directory, policy).retrieve(session.id)["item"] == Item("lamp")


def test_a_manager_without_a_directory_is_refused():
    with pytest.raises(SettingsError, match="kept in a directory, not in a str"):
        SessionManager("Hash")


def test_a_policy_that_is_none_is_refused(hash_manager):
    with pytest.raises(SettingsError, match="the policy is a SessionPolicy, not a dict"):
        SessionManager(hash_manager.directory, {"idle": 60})


def test_managers_of_one_directory_share_their_sessions(hash_manager, policy):
    session = hash_manager.create()

    assert SessionManager(hash_manager.directory, policy).retrieve(session.id) is not None


def test_the_session_lives_in_memory_with_the_default_policy():
    manager = SessionManager(kiokupy.connect())
    session = manager.create()

    assert round((session.expires - session.created).total_seconds()) == 30 * 60
    manager.close()


def test_ids_have_256_bits_in_43_url_safe_characters(hash_manager):
    ids = {hash_manager.create().id for _ in range(50)}

    assert len(ids) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", id) for id in ids)
    assert all(len(base64.urlsafe_b64decode(id + "=")) == 32 for id in ids)


def test_only_the_hash_of_an_id_is_at_rest(file_place, policy):
    with file_place.connect() as directory:
        session = SessionManager(directory, policy).create()
        session["a"] = 1
        session.flush()
    content = file_place.options["path"].read_bytes()

    assert session.id.encode() not in content
    assert hashlib.sha256(session.id.encode()).digest() in content


def test_the_hash_of_an_id_is_no_id(hash_manager):
    session = hash_manager.create()
    digest = hashlib.sha256(session.id.encode()).digest()

    assert hash_manager.retrieve(digest) is None
    assert hash_manager.retrieve(base64.urlsafe_b64encode(digest).decode().rstrip("=")) is None


@pytest.mark.parametrize("id", ["A" * 43, "A" * 42, "A" * 44, "", "../../etc/passwd", "A" * 42 + "\n", "\uff21" * 43])
def test_an_unknown_id_is_never_adopted(hash_manager, id):
    session = hash_manager.open(id)
    session["a"] = 1
    session.flush()

    assert session.id != id
    assert hash_manager.retrieve(id) is None


def test_a_malformed_id_does_not_ask_the_store(hash_manager):
    hash_manager.close()

    assert hash_manager.retrieve("../../etc/passwd") is None
    assert hash_manager.destroy("' OR 1=1") is False


def test_open_gives_the_stored_session_or_a_new_one_that_is_not_stored_yet(hash_manager):
    known = hash_manager.create()

    assert hash_manager.open(known.id).id == known.id
    assert hash_manager.open().is_new
    assert len(stored(hash_manager)) == 1


def test_a_new_session_keeps_its_id_when_it_is_stored(hash_manager):
    session = hash_manager.open()
    id = session.id
    session.flush()

    assert session.id == id
    assert not session.is_new


def test_a_new_sessions_id_that_is_taken_is_replaced(hash_manager, monkeypatch):
    taken = hash_manager.create()
    ids = iter([taken.id, taken.id, "B" * 43])
    monkeypatch.setattr(ids_module, "new_id", lambda: next(ids))

    session = hash_manager.create()

    assert session.id == "B" * 43
    assert hash_manager.retrieve(taken.id) is not None


def test_regenerate_does_not_land_on_another_session(hash_manager, monkeypatch):
    taken, session = hash_manager.create(), hash_manager.create()
    old = session.id
    ids = iter([taken.id, "B" * 43])
    monkeypatch.setattr(ids_module, "new_id", lambda: next(ids))
    session.regenerate()

    assert session.id == "B" * 43
    assert hash_manager.retrieve(old) is None
    assert hash_manager.retrieve(taken.id) is not None


def test_a_lazy_session_asks_the_store_when_it_is_touched(hash_manager):
    id = hash_manager.create().id
    session = hash_manager.open(id, lazy=True)

    assert repr(session) == "<Session, not opened yet>"
    assert not session.accessed
    hash_manager.destroy(id)
    assert session.is_new
    assert session.accessed


class TestClocks:
    def test_an_idle_session_ends(self, hash_manager, clock):
        id = hash_manager.create().id
        clock.now += 1799
        assert hash_manager.retrieve(id) is not None
        clock.now += 1

        assert hash_manager.retrieve(id) is None

    def test_a_used_session_lives_on_until_its_absolute_end(self, hash_manager, clock):
        id = hash_manager.create().id
        for _ in range(7):
            clock.now += 1000
            hash_manager.retrieve(id).flush()
        session = hash_manager.retrieve(id)
        clock.now += 199
        assert (session.expires - session.created).total_seconds() == 7200
        assert hash_manager.retrieve(id) is not None
        clock.now += 1

        assert hash_manager.retrieve(id) is None

    def test_use_is_written_down_at_most_once_in_the_resolution(self, hash_manager, clock):
        id = hash_manager.create().id
        before = last_write(hash_manager)
        clock.now += 59
        hash_manager.retrieve(id).flush()
        assert last_write(hash_manager) == before
        clock.now += 1
        hash_manager.retrieve(id).flush()

        assert last_write(hash_manager) != before

    def test_noting_the_use_does_not_undo_what_another_request_wrote(self, hash_manager, clock):
        session = hash_manager.create()
        clock.now += 100
        reader, writer = hash_manager.retrieve(session.id), hash_manager.retrieve(session.id)
        writer["a"] = 1
        writer.set_lifetime(lasting=True)
        writer.flush()
        clock.now += 100
        reader.flush()

        found = hash_manager.retrieve(session.id)
        assert (dict(found), found.max_age is None) == ({"a": 1}, False)

    def test_a_session_that_expired_during_a_request_is_gone(self, hash_manager, clock):
        session = hash_manager.create()
        clock.now += 1800
        session["a"] = 1

        with pytest.raises(SessionGone):
            session.flush()

    def test_without_limits_a_session_lives_for_ever(self, clock):
        policy = SessionPolicy(idle=None, absolute=None, clock=clock)
        with kiokupy.connect() as directory:
            manager = SessionManager(directory, policy)
            session = manager.create()
            clock.now += 10**9

            assert manager.retrieve(session.id).expires.year == 9999

    @pytest.mark.parametrize("options", [{"idle": 0}, {"absolute": -1}, {"resolution": -1}, {"idle": float("nan")}])
    def test_a_policy_that_makes_no_sense_is_refused(self, options):
        with pytest.raises(SettingsError):
            SessionPolicy(**options)


class TestContent:
    def test_what_the_type_map_does_not_name_is_refused_with_its_path_and_nothing_is_saved(self, hash_manager):
        session = hash_manager.create()
        session["ok"] = 1
        session["cart"] = {"items": [1, 2, Item("x", [Gadget()])]}

        with pytest.raises(NotStorable) as caught:
            session.flush()

        assert caught.value.path == "session['cart']['items'][2].tags[0]"
        assert "allow_classes=[Gadget]" in str(caught.value)
        assert dict(hash_manager.retrieve(session.id)) == {}
        del session["cart"]
        session.flush()
        assert dict(hash_manager.retrieve(session.id)) == {"ok": 1}

    def test_a_class_that_is_not_allowed_any_more_is_not_loaded(self, file_place, policy):
        with file_place.connect(allow_classes=[Item]) as directory:
            session = SessionManager(directory, policy).create()
            session["item"] = Item("x")
            session.flush()
        with file_place.connect() as directory:
            found = SessionManager(directory, policy).retrieve(session.id)
            with pytest.raises(NotLoadable, match="Item"):
                found["item"]

    def test_a_set_that_comes_in_another_order_is_no_change(self, file_place):
        """Another process hashes strings otherwise; a false change would write, and win over what others changed."""
        words = {f"word {number}" for number in range(50)}
        with file_place.connect() as directory:
            session = SessionManager(directory).create()
            session["words"] = words
            session.flush()
        script = f"""if True:
            import kiokupy
            with kiokupy.connect("File", path={str(file_place.options["path"])!r}) as directory:
                manager = kiokupy.SessionManager(directory)
                before = directory._database._db.lastTransaction()
                slow, fast = manager.retrieve({session.id!r}), manager.retrieve({session.id!r})
                assert slow["words"] == {{f"word {{n}}" for n in range(50)}}
                slow.flush()
                assert directory._database._db.lastTransaction() == before
                slow["dropped"] = 1
                slow.revert()
                assert "dropped" not in slow and not slow.modified
                fast["words"].add("new")
                fast.flush()
                slow["other"] = 1
                slow.flush()
                assert "new" in manager.retrieve({session.id!r})["words"]
        """
        for seed in ("1", "2"):
            subprocess.run([sys.executable, "-c", script], env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
            script = script.replace('"new"', '"newer"').replace("range(50)}", "range(50)} | {'new'}")

    def test_a_value_that_cannot_be_compared_can_be_replaced(self, policy):
        with kiokupy.connect(allow_classes=[Vector]) as directory:
            manager = SessionManager(directory, policy)
            session = manager.create()
            session["a"] = Vector()
            session.flush()
            session["a"] = 5
            session.flush()

            assert manager.retrieve(session.id)["a"] == 5

    def test_keys_are_strings(self, hash_manager):
        session = hash_manager.create()

        with pytest.raises(NotStorable, match="the key 5 is not a string"):
            session[5] = 1

    def test_a_session_is_a_mapping(self, hash_manager):
        session = hash_manager.create()
        session.update(a=1, b=2)

        assert (len(session), list(session), "a" in session, session.get("c")) == (2, ["a", "b"], True, None)
        assert session.pop("a") == 1
        session.clear()
        assert dict(session) == {}

    def test_a_record_that_is_damaged_is_named(self, hash_manager):
        session = hash_manager.create()
        with hash_manager.directory.new_unit() as unit:
            entry = next(iter(unit.root["sessions"].values()))
            entry.record = entry.record._replace(state=b"nonsense")
            unit.commit()

        with pytest.raises(NotLoadable, match="in the record of 'a session'"):
            dict(hash_manager.retrieve(session.id))

    def test_principal_is_kept_and_merged(self, hash_manager):
        session = hash_manager.create()
        other = hash_manager.retrieve(session.id)
        session.principal = "alice"
        session.flush()
        other["a"] = 1
        other.flush()

        assert hash_manager.retrieve(session.id).principal == other.principal == "alice"

    def test_neither_repr_nor_errors_show_id_or_data(self, hash_manager):
        session = hash_manager.create()
        session["password"] = "hunter2"
        session.flush()

        assert repr(session) == "<Session, stored>"
        assert repr(hash_manager.open()) == "<Session, new>"
        session.destroy()
        assert repr(session) == "<Session, destroyed>"
        with pytest.raises(SessionGone) as caught:
            session.flush()
        assert session.id not in str(caught.value)


class TestEndOfRequest:
    def test_an_untouched_session_needs_no_cookie(self, hash_manager):
        assert hash_manager.conclude(hash_manager.open("A" * 43, lazy=True)) is CookieAction.KEEP

    def test_a_new_session_that_stayed_empty_is_not_stored(self, hash_manager):
        session = hash_manager.open()
        session.get("a")

        assert hash_manager.conclude(session) is CookieAction.KEEP
        assert stored(hash_manager) == []

    def test_the_cookie_of_a_session_that_is_not_there_is_deleted(self, hash_manager):
        session = hash_manager.open("A" * 43)
        session.get("a")

        assert hash_manager.conclude(session) is CookieAction.DELETE

    def test_a_new_session_with_data_or_a_principal_is_stored_and_sent(self, hash_manager):
        one, two = hash_manager.open(), hash_manager.open()
        one["a"] = 1
        two.principal = "alice"

        assert [hash_manager.conclude(session) for session in (one, two)] == [CookieAction.SEND] * 2
        assert len(stored(hash_manager)) == 2

    def test_a_session_that_was_only_read_needs_no_cookie(self, hash_manager):
        session = hash_manager.open(hash_manager.create().id)
        session.get("a")

        assert hash_manager.conclude(session) is CookieAction.KEEP

    def test_a_moved_session_is_sent_under_its_new_id(self, hash_manager):
        session = hash_manager.open(hash_manager.create().id)
        session.regenerate()

        assert hash_manager.conclude(session) is CookieAction.SEND

    def test_a_destroyed_session_has_its_cookie_deleted(self, hash_manager):
        session = hash_manager.open(hash_manager.create().id)
        session.destroy()

        assert hash_manager.conclude(session) is CookieAction.DELETE

    def test_an_invalidated_session_goes_on_as_a_new_one(self, hash_manager):
        session = hash_manager.open(hash_manager.create().id)
        old = session.id
        session["a"] = 1
        session.invalidate()
        assert (dict(session), session.is_new, session.destroyed) == ({}, True, False)
        session["b"] = 2

        assert hash_manager.conclude(session) is CookieAction.SEND
        assert hash_manager.retrieve(old) is None
        assert dict(hash_manager.retrieve(session.id)) == {"b": 2}

    def test_an_abandoned_request_saves_nothing(self, hash_manager):
        session = hash_manager.open(hash_manager.create().id)
        session["a"] = 1

        assert hash_manager.abandon(session) is CookieAction.KEEP
        assert dict(hash_manager.retrieve(session.id)) == {}

    def test_an_abandoned_request_whose_session_could_not_be_read_keeps_its_cookie(self, hash_manager):
        session = hash_manager.open(hash_manager.create().id, lazy=True)
        hash_manager.close()
        with pytest.raises(StoreError):
            session.get("a")

        assert hash_manager.abandon(session) is CookieAction.KEEP

    def test_a_session_that_could_not_be_destroyed_is_not(self, hash_manager, monkeypatch):
        session = hash_manager.create()
        monkeypatch.setattr(Shelf, "discard", lambda self, key: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session.destroy()

        assert not session.destroyed

    def test_a_session_that_is_open_stays_as_it_is_when_it_is_opened_again(self, hash_manager):
        session = hash_manager.open(hash_manager.create().id, lazy=True)
        session.open()
        session["a"] = 1
        session.open()

        assert session["a"] == 1

    def test_regenerating_a_session_that_is_not_stored_gives_it_another_id(self, hash_manager):
        session = hash_manager.open()
        old = session.id

        assert session.regenerate() == session.id != old
        assert stored(hash_manager) == []


class TestSettings:
    @pytest.mark.parametrize("settings", [{}, {"session": "KiokuDB"}, {"session": "kiokupy", "appname": "Shop"}])
    def test_the_default_backend_is_hash(self, settings):
        with SessionManager.from_settings(settings).directory as directory:
            assert directory.location == "memory"

    def test_the_seeds_own_example_works(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        settings = {
            "session": "KiokuDB",
            "kiokudb_backend": "DBI",
            "kiokudb_backend_opts": {"dsn": "dbi:SQLite:dbname=mydb.sqlite"},
        }
        manager = SessionManager.from_settings(settings, allow_classes=(Item,))
        session = manager.create()
        session["item"] = Item("x")
        session.flush()
        manager.close()
        again = SessionManager.from_settings(settings, allow_classes=(Item,))

        assert again.retrieve(session.id)["item"] == Item("x")
        again.close()

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.toml", 'kiokudb_backend = "File"\n[kiokudb_backend_opts]\npath = "{}"\n'),
            ("a.yaml", "session: KiokuDB\nkiokudb_backend: File\nkiokudb_backend_opts:\n  path: '{}'\n"),
        ],
    )
    def test_settings_are_read_from_files(self, tmp_path, name, text):
        (tmp_path / name).write_text(text.format(tmp_path / "store.fs"))
        SessionManager.from_settings(tmp_path / name).close()

        assert (tmp_path / "store.fs").exists()

    def test_create_0_makes_nothing(self, tmp_path):
        opts = {"path": tmp_path / "store.fs", "create": 0}
        with pytest.raises(kiokupy.StoreNotFound):
            SessionManager.from_settings({"kiokudb_backend": "File", "kiokudb_backend_opts": opts})

        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"kiokudb_backend_opts": ["a"]}, "kiokudb_backend_opts must be a mapping, not list"),
            ({"kiokudb_backend": 5}, "kiokudb_backend must be a name"),
            ({"session": "YAML"}, "session is 'YAML'. It must be 'KiokuDB' here"),
            ({"kiokudb_backend_opt": {}}, "Did you mean 'kiokudb_backend_opts'"),
            ({"kiokudb_zz/zz/zz/zz/zz/zz": {}}, "There are 'kiokudb_backend' and 'kiokudb_backend_opts'"),
        ],
    )
    def test_a_wrong_setting_is_refused(self, settings, message):
        with pytest.raises(SettingsError, match=message):
            SessionManager.from_settings(settings)

    def test_an_unloadable_backend_is_refused(self):
        with pytest.raises(UnknownBackend, match="Installed backends: DBI, File, Hash, ZEO"):
            SessionManager.from_settings({"kiokudb_backend": "KiokuDB::Backend::Cool"})


def test_a_conflict_that_does_not_end_is_reported(hash_manager, monkeypatch):
    taken = hash_manager.create()
    monkeypatch.setattr(ids_module, "new_id", lambda: taken.id)
    monkeypatch.setattr(keeping_module, "_RETRIES", 2)

    with pytest.raises(ConflictError):
        hash_manager.create()


class TestStoredForm:
    """What was written on 2026-11-24 is read for ever, and is written the same way still."""

    ID = "A" * 43
    KEY = bytes.fromhex("0f007385b6f9d4b7eeb2748605afe1a984a0a3bfa3f014d09e2a784ce9e5cd1a")
    RECORD = Record(
        "kiokupy:Session",
        b"\x80\x05\x95+\x00\x00\x00\x00\x00\x00\x00(G?\xf0\x00\x00\x00\x00\x00\x00G@\x00\x00\x00\x00\x00\x00\x00G@\x08\x00\x00"
        b"\x00\x00\x00\x00\x8c\x05alice\x94t\x94}\x94\x86\x94.",
        b"\x80\x05\x95\r\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x01a\x94]\x94K\x01as.",
        (),
        2,
    )

    def test_a_session_is_written_as_it_was(self):
        codec = SessionCodec(kiokupy.TypeMap())
        with kiokupy.connect() as directory:
            content = codec.dump({"a": [1]}, DirectoryObjects(directory))

        assert content.record(Facts(1.0, 2.0, 3.0, "alice")) == self.RECORD

    def test_a_session_is_read_as_it_was_written(self, hash_manager, clock):
        clock.now = 2.5
        with hash_manager.directory.new_unit() as unit:
            unit.root["sessions"][self.KEY] = Entry(self.RECORD)
            unit.commit()
        session = hash_manager.retrieve(self.ID)

        assert (dict(session), session.principal) == ({"a": [1]}, "alice")
        assert (session.created.timestamp(), session.expires.timestamp()) == (1.0, 3.0)
