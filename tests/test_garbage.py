"""Garbage: what no root reaches goes, all else stays, also beside writers."""

import threading
import weakref

import pytest
import transaction
from BTrees.OOBTree import OOBTree
from graph_classes import Account, Person
from graph_stores import directory_in
from hypothesis import given, settings
from hypothesis import strategies as st
from persistent import Persistent

import kiokupy
from kiokupy import links
from kiokupy.entry import ROOT, Record
from kiokupy.errors import ConflictError, NotFound, StoreError, StoreReadOnly, StoreUnreadable
from kiokupy.maintenance import Kind, fsck, garbage, gc, pack, remove
from kiokupy.maintenance.bare import bare_unit, put
from kiokupy.sessions.manager import SessionManager

CLASSES = [Person, Account]


@pytest.fixture
def directory():
    with kiokupy.connect("Hash", allow_classes=CLASSES) as directory:
        yield directory


@pytest.fixture
def shared(place):
    with place.connect(allow_classes=CLASSES) as directory:
        yield directory


def ids_in(directory):
    with directory.new_unit() as unit:
        return sorted(unit.root["entries"])


def alone(directory, *ids):
    """Store objects that nothing keeps alive."""
    for id in ids:
        directory.store(Person(id), id=id, root=False)


def link(directory, source, target):
    with directory.new_scope() as scope:
        scope.get(source).friend = scope.get(target)


class TestWhatIsGarbage:
    def test_what_a_root_reaches_is_kept_and_the_rest_goes(self, directory):
        chain = Person("a", friend=Person("b", friend=Person("c")))
        directory.store(chain, id="a")
        lost = Person("x")
        lost.friend = Person("y", friend=lost)
        directory.store(lost, id="x", root=False)

        found = gc(directory)

        assert (found.total, len(found.ids), found.dangling, found.dry_run) == (5, 2, [], False)
        assert directory.get("a").friend.friend.name == "c"
        assert not directory.exists("x")

    def test_a_dry_run_finds_the_same_and_changes_nothing(self, directory):
        alone(directory, "x", "y")
        before = directory._database._db.storage.lastTransaction()

        found = gc(directory, dry_run=True)

        assert (found.ids, found.dry_run) == (["x", "y"], True)
        assert directory._database._db.storage.lastTransaction() == before
        assert gc(directory).ids == ["x", "y"]

    def test_what_is_left_after_an_interruption_is_found_by_the_next_call(self, directory):
        alone(directory, *"abcde")

        def interrupt(step):
            if step.task == "delete":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            gc(directory, batch=2, progress=interrupt)

        assert ids_in(directory) == ["c", "d", "e"]
        assert gc(directory).ids == ["c", "d", "e"]

    def test_references_to_what_is_gone_are_reported(self, directory):
        directory.store(Person("a", friend=Person("b")), id="a")
        with directory.new_scope() as scope:
            id = scope.object_to_id(scope.get("a").friend)
            scope.delete(id)

        assert gc(directory).dangling == [id]

    def test_a_session_is_never_garbage(self, directory):
        manager = SessionManager(directory)
        session = manager.create()
        alone(directory, "x")

        assert gc(directory).ids == ["x"]
        assert manager.retrieve(session.id) is not None

    def test_an_object_with_a_root_flag_that_the_tree_of_roots_does_not_know_is_kept(self, directory):
        directory.store(Person("a", friend=Person("b")), id="a")
        with directory.new_unit() as unit:
            unit.root["roots"].clear()
            unit.commit()

        assert gc(directory).ids == []

    def test_a_weak_reference_keeps_nothing_alive(self, directory):
        alone(directory, "y")
        with directory.new_scope() as scope:
            scope.store(Person("x", friend=weakref.ref(scope.get("y"))), id="x")

        assert gc(directory).ids == ["y"]
        assert fsck(directory).findings == []
        assert directory.get("x").friend() is None

    def test_a_dry_run_over_many_objects_finds_them_all(self, directory):
        with directory.new_scope() as scope:
            for n in range(1200):
                scope.store(Person(str(n)), id=f"{n:04}", root=False)

        assert gc(directory, dry_run=True).ids == [f"{n:04}" for n in range(1200)]

    def test_progress_is_told(self, directory):
        alone(directory, *(f"{n:04}" for n in range(600)))
        steps = []

        gc(directory, batch=250, progress=steps.append)

        assert [step.done for step in steps if step.task == "delete"] == [250, 500, 600]
        assert [step.done for step in steps if step.task == "look at the rest"] == [200, 400, 600]


class TestPersistentObjects:
    def test_plain_objects_that_a_persistent_one_holds_are_kept(self, directory):
        account = Account()
        account.owner = OOBTree({n: Person(str(n)) for n in range(200)})
        directory.store(account, id="a")
        alone(directory, "x")

        assert gc(directory).ids == ["x"]
        assert directory.get("a").owner[7].name == "7"

    def test_the_id_of_a_persistent_object_stays_while_a_living_one_holds_it(self, directory):
        with directory.new_scope() as scope:
            inner, outer = Account(Person("p")), Account()
            outer.owner = inner
            scope.store(inner, id="inner", root=False)
            scope.store(outer, id="outer")
            scope.store(Account(), id="lost", root=False)

        assert gc(directory).ids == ["lost"]

    def test_the_id_stays_also_when_the_holder_is_found_late(self, directory):
        with directory.new_scope() as scope:
            inner = Account(Person("p"))
            scope.store(inner, id="a-inner", root=False)
            scope.store(Account(inner), id="outer")
        with directory.new_unit() as unit:  # so that the holder is seen after what it holds
            unit.root["roots"].clear()
            unit.commit()

        assert gc(directory).ids == []

    def test_a_changed_persistent_object_is_read_again(self, shared):
        shared.store(Account(), id="a")
        alone(shared, "x", "y")

        def write(step):
            if step.task == "look at the rest" or not step.done:
                return
            if shared.get("a").owner is None:
                with shared.new_scope() as scope:
                    scope.get("a").owner = scope.get("y")

        assert gc(shared, progress=write).ids == ["x"]
        assert shared.get("a").owner.name == "y"


class Members(Persistent):
    """As kiokupy's own collections: keeps ids in a tree."""

    def __init__(self, weak=False):
        self.tree, self.weak = OOBTree(), weak

    def member_ids(self):
        return self.tree.keys()


class TestCollections:
    @pytest.fixture(autouse=True)
    def directory(self, monkeypatch, place):
        monkeypatch.setattr(links, "COLLECTIONS", Members.__module__)
        with place.connect(allow_classes=[*CLASSES, Members]) as directory:
            yield directory

    def add(self, directory, collection, ids):
        with directory.new_scope() as scope:
            scope.get(collection).tree.update(dict.fromkeys(ids))

    def test_members_are_kept(self, directory):
        directory.store(Members(), id="all")
        alone(directory, *"xyz")
        self.add(directory, "all", "xy")

        assert gc(directory).ids == ["z"]

    def test_members_of_a_weak_collection_are_not(self, directory):
        directory.store(Members(weak=True), id="all")
        alone(directory, "x")
        self.add(directory, "all", "x")

        assert gc(directory).ids == ["x"]

    def test_a_member_added_meanwhile_is_kept_though_only_a_part_of_the_collection_changed(self, directory):
        directory.store(Members(), id="all")
        alone(directory, *(f"{n:03}" for n in range(200)))
        self.add(directory, "all", [f"{n:03}" for n in range(100)])
        done = []

        def write(step):
            if not done:
                done.append(step)
                self.add(directory, "all", ["150"])

        assert gc(directory, progress=write).ids == [f"{n:03}" for n in range(100, 200) if n != 150]


class TestBesideWriters:
    """On every storage; the writers come at chosen moments."""

    def before_deleting(self, monkeypatch, write):
        """Call ``write()`` once, in the midst of a transaction that deletes."""
        drop, done = garbage.drop, []

        def write_and_drop(unit, id):
            if not done:
                done.append(id)
                write()
            drop(unit, id)

        monkeypatch.setattr(garbage, "drop", write_and_drop)

    @pytest.mark.parametrize("moment", ["between", "within"])
    @pytest.mark.parametrize("deed", ["link", "root", "change", "replace"])
    def test_what_comes_to_life_meanwhile_is_kept_with_all_it_reaches(self, shared, monkeypatch, moment, deed):
        shared.store(Person("a"), id="a")
        shared.store(Person("x", friend=Person("y")), id="x", root=False)
        alone(shared, "b", "z")
        done = []

        def write():
            done.append(deed)
            if deed == "link":
                link(shared, "a", "x")
            elif deed == "root":
                shared.set_root("x")
            elif deed == "change":
                with shared.new_scope() as scope:
                    scope.get("x").name = "changed"
            else:
                with shared.new_scope() as scope:
                    friend = scope.get("x").friend
                    scope.delete("x")
                    scope.store(Person("new", friend=friend), id="x", root=False)

        if moment == "within":
            self.before_deleting(monkeypatch, write)
        found = gc(shared, progress=lambda step: None if done or moment == "within" else write())

        assert done
        assert found.ids == ["b", "z"]
        assert shared.get("x").friend.name == "y"

    def test_a_scope_that_was_open_meanwhile_cannot_refer_to_what_is_gone(self, shared):
        shared.store(Person("a"), id="a")
        alone(shared, "x")
        scope = shared.new_scope()
        scope.get("a").friend = scope.get("x")

        assert gc(shared).ids == ["x"]

        with pytest.raises(ConflictError):
            scope.commit()
        scope.close()
        assert not hasattr(shared.get("a"), "friend")

    def test_a_scope_that_was_open_meanwhile_cannot_change_what_is_gone(self, shared):
        alone(shared, "x")
        scope = shared.new_scope()
        scope.get("x").name = "changed"

        gc(shared)

        with pytest.raises(ConflictError):
            scope.commit()
        scope.close()

    def test_bare_records_that_were_written_meanwhile_cannot_refer_to_what_is_gone(self, shared):
        alone(shared, "x")
        with bare_unit(shared, write=True) as unit:
            put(unit, "a", Record("x:X", None, b"N.", ("x",), ROOT))
            gc(shared)
            with pytest.raises(ConflictError):
                unit.commit()

    def test_the_next_attempt_sees_that_it_is_gone(self, shared):
        shared.store(Person("a"), id="a")
        alone(shared, "x")
        attempts = []

        def work(scope):
            attempts.append(scope.exists("x"))
            scope.get("a").friend = scope.get("x")
            gc(shared)

        with pytest.raises(NotFound):
            shared.txn_do(work)
        assert attempts == [True, False]

    def test_a_scope_that_only_reads_is_not_disturbed(self, shared):
        alone(shared, "x")
        with shared.new_scope() as scope:
            assert scope.get("x").name == "x"
            gc(shared)
            assert scope.exists("x")

    def test_a_scope_that_was_open_while_nothing_was_deleted_is_not_disturbed(self, shared):
        shared.store(Person("a"), id="a")
        with shared.new_scope() as scope:
            scope.get("a").name = "changed"
            gc(shared)
        assert shared.get("a").name == "changed"

    def test_two_collections_at_once_delete_each_object_once(self, shared, monkeypatch):
        alone(shared, *"abc")
        others = []
        self.before_deleting(monkeypatch, lambda: others.extend(gc(shared).ids))

        assert (gc(shared).ids, others) == ([], ["a", "b", "c"])

    def test_threads_that_link_and_unlink_never_meet_a_broken_reference(self, shared):
        ids = [f"{n:02}" for n in range(20)]
        alone(shared, *ids)
        for root in "ab":
            shared.store(Person(root, friend=None), id=root)
        failures, ended = [], threading.Event()

        def write(root):
            try:
                for id in ids * 2:
                    shared.txn_do(lambda scope, key=id: self.move(scope, root, key), retries=100)
            except Exception as error:
                failures.append(error)
            finally:
                ended.set()

        threads = [threading.Thread(target=write, args=(root,)) for root in "ab"]
        for thread in threads:
            thread.start()
        while not ended.is_set():
            gc(shared, batch=3)
        for thread in threads:
            thread.join()

        assert failures == []
        assert fsck(shared).counts[Kind.REFERENCE] == 0

    def move(self, scope, root, id):
        """Let a root refer to an object that may be garbage, or to a new one."""
        holder, friend = scope.get(root), scope.lookup(id)
        if friend is None:
            friend = Person(id)
            scope.store(friend, id=id, root=False)
        holder.friend = friend


class TestRefusals:
    def test_a_batch_of_nothing_is_refused(self, directory):
        with pytest.raises(ValueError, match="batch is 0"):
            gc(directory, batch=0)

    def test_a_store_that_is_open_for_reading_is_only_looked_at(self, file_place):
        with file_place.connect(allow_classes=CLASSES) as directory:
            alone(directory, "x")
        with file_place.connect(readonly=True) as directory:
            assert gc(directory, dry_run=True).ids == ["x"]
            with pytest.raises(StoreReadOnly):
                gc(directory)

    @pytest.mark.parametrize("root", [True, False])
    def test_nothing_is_deleted_from_a_store_with_a_damaged_record(self, directory, root):
        alone(directory, "x", "y")
        if root:
            directory.set_root("y")
        with directory.new_unit() as unit:
            unit.root["entries"]["y"].record = Record("x:X", None, "no bytes", (), ROOT * root)
            unit.commit()

        with pytest.raises(StoreUnreadable, match="fsck"):
            gc(directory)
        assert ids_in(directory) == ["x", "y"]

    def test_a_storage_that_does_not_know_what_changed_ends_the_collection(self, directory):
        directory.store(Person("a"), id="a")
        alone(directory, "x")

        with pytest.raises(StoreError, match="begin again"):
            gc(directory, progress=lambda step: directory._database._db._mvcc_storage.invalidateCache())
        assert ids_in(directory) == ["a", "x"]

    @pytest.mark.parametrize("root", [True, False])
    def test_a_pack_that_takes_away_what_is_still_to_be_read_is_a_conflict_and_no_damage(self, file_place, root):
        with file_place.connect(allow_classes=CLASSES) as directory:
            with directory.new_scope() as scope:
                last = Person("last")
                scope.store(last, id="0199", root=False)
                scope.store(Person("first", friend=last), id="first", root=root)
                for n in range(199):
                    scope.store(Person(str(n)), id=f"{n:04}", root=False)
            steps = []

            def take_away(step):
                if not steps:
                    with directory.new_scope() as scope:
                        scope.get("0199").name = "changed"
                    pack(directory)
                steps.append(step)

            with pytest.raises(ConflictError):
                gc(directory, progress=take_away)
            assert (len(steps), gc(directory, dry_run=True).total) == (1, 201)

    def test_an_object_whose_making_was_undone_meanwhile_is_no_entry(self, tmp_path):
        with directory_in(tmp_path / "store.fs", CLASSES) as directory:
            alone(directory, "x")
            done = []

            def make_and_undo(step):
                if not done:
                    done.append(step)
                    alone(directory, "y")
                    database = directory._database._db
                    manager = transaction.TransactionManager(explicit=True)
                    database.undo(database.undoLog(0, 1)[0]["id"], manager.begin())
                    manager.commit()

            assert gc(directory, progress=make_and_undo).ids == ["x"]


def test_what_cannot_be_read_can_be_removed(directory):
    directory.store(Person("a"), id="a")
    session = SessionManager(directory).create()
    with directory.new_unit() as unit:
        (key,) = unit.root["sessions"]

    remove(directory, "a", "not there")
    remove(directory, key.hex(), session=True)

    assert ids_in(directory) == []
    assert SessionManager(directory).retrieve(session.id) is None
    assert fsck(directory).findings == []


NODES = 8
EDGES = st.lists(st.tuples(st.integers(0, NODES - 1), st.integers(0, NODES - 1)), max_size=16)
NUMBERS = st.sets(st.integers(0, NODES - 1))


@pytest.mark.no_cover
@settings(deadline=None)
@given(edges=EDGES, roots=NUMBERS, persistent=NUMBERS, deleted=NUMBERS, batch=st.integers(1, 4))
def test_exactly_what_roots_reach_is_left(edges, roots, persistent, deleted, batch):
    with kiokupy.connect("Hash", allow_classes=CLASSES) as directory:
        nodes = [Account([]) if n in persistent else Person(str(n), owner=[]) for n in range(NODES)]
        with directory.new_scope() as scope:
            for n, node in enumerate(nodes):
                scope.store(node, id=str(n), root=n in roots)
            for source, node in enumerate(nodes):
                node.owner = [nodes[target] for origin, target in edges if origin == source]
        with directory.new_scope() as scope:
            scope.delete(*(str(n) for n in deleted))
        # A Persistent object that is deleted is still a part of the Persistent objects that hold it.
        alive, pending = set(), list(roots - deleted)
        while pending:
            source = pending.pop()
            if source not in alive:
                alive.add(source)
                pending += [
                    t for s, t in edges if s == source and (t not in deleted or (s in persistent and t in persistent))
                ]
        expected = sorted(str(n) for n in alive - deleted)
        before = ids_in(directory)

        dry = gc(directory, dry_run=True)
        assert ids_in(directory) == before
        found = gc(directory, batch=batch)

        assert ids_in(directory) == expected
        assert dry.ids == found.ids == sorted(set(before) - set(expected))
        assert gc(directory).ids == []
