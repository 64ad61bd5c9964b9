"""Checking: each kind of damage is found, hides nothing else, and the fix that is named works."""

import pytest
from BTrees.OOBTree import OOBTree
from graph_classes import Account, Person
from ZODB.Connection import TransactionMetaData

import kiokupy
from kiokupy.entry import Entry, Record
from kiokupy.maintenance import Kind, fsck, gc, reindex, remove
from kiokupy.sessions.manager import SessionManager

CLASSES = [Person, Account]


@pytest.fixture
def directory(tmp_path):
    with kiokupy.connect("File", path=tmp_path / "store.fs", allow_classes=CLASSES) as directory:
        yield directory


def found(directory):
    return [(finding.kind, finding.subject) for finding in fsck(directory).findings]


def edit(directory, change):
    """Change the bare records in one transaction."""
    with directory.new_unit() as unit:
        change(unit.root)
        unit.commit()


def overwrite(directory, oid, data):
    """Replace a record in the storage by bytes of any kind."""
    storage = directory._database._db.storage
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.store(oid, storage.load(oid)[1], data, "", txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)
    directory._database._db.cacheMinimize()


def erase(directory, oid):
    """Take a record out of the storage, as a damaged file has lost it."""
    storage = directory._database._db.storage
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.deleteObject(oid, storage.load(oid)[1], txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)
    directory._database._db.cacheMinimize()


def oid_of(directory, find):
    with directory.new_unit() as unit:
        return find(unit.root)._p_oid


def fill(directory, count=200):
    with directory.new_scope() as scope:
        for n in range(count):
            scope.store(Person(f"{n:03}"), id=f"{n:03}")


def leaves(directory, name="entries"):
    """Return the oids of the leaves of a tree, from left to right."""
    with directory.new_unit() as unit:
        bucket = unit.root[name]._firstbucket
        found = []
        while bucket is not None:
            found.append(bucket._p_oid)
            state = bucket.__getstate__()
            bucket = state[1] if len(state) > 1 else None
        return found


class TestObjects:
    def test_in_a_sound_store_nothing_is_found(self, place):
        with place.connect(allow_classes=CLASSES) as directory:
            account = Account(Person("x"))
            account.tree = OOBTree({n: Person(str(n)) for n in range(100)})
            directory.store(account, id="a")
            directory.store(Person("b", friend=[1, {"k": (2,)}]), id="b")
            SessionManager(directory).create()

            report = fsck(directory)

        assert (report.findings, report.ok, report.exit_status) == ([], True, 0)
        assert (report.objects, report.roots, report.sessions) == (103, 2, 1)

    def test_a_broken_reference_is_told_with_both_ends(self, directory):
        directory.store(Person("a", friend=Person("b")), id="a")
        with directory.new_scope() as scope:
            target = scope.object_to_id(scope.get("a").friend)
            scope.delete(target)

        report = fsck(directory)

        (finding,) = report.findings
        assert (finding.kind, finding.subject, finding.target) == (Kind.REFERENCE, "a", target)
        assert (report.ok, report.exit_status) == (False, 1)
        directory.store(Person("b"), id=target)
        assert fsck(directory).ok

    def test_a_broken_reference_of_a_persistent_object_is_found(self, directory):
        directory.store(Account([Account(Person("b"))]), id="a")
        with directory.new_scope() as scope:
            scope.delete(scope.object_to_id(scope.get("a").owner[0].owner))

        assert found(directory) == [(Kind.REFERENCE, "a")]

    def test_what_nothing_refers_to_is_a_warning_and_gc_deletes_it(self, directory):
        lonely = Person("x")
        lonely.friend = lonely
        directory.store(lonely, id="x", root=False)

        report = fsck(directory)

        assert [finding.kind for finding in report.findings] == [Kind.UNREFERENCED]
        assert (report.ok, report.exit_status) == (True, 0)
        gc(directory)
        assert found(directory) == []

    def test_a_persistent_object_that_another_holds_is_referred_to(self, directory):
        with directory.new_scope() as scope:
            inner = Account()
            scope.store(inner, id="inner", root=False)
            scope.store(Account(inner), id="outer")

        assert found(directory) == []

    @pytest.mark.parametrize("twice", [True, False])
    @pytest.mark.parametrize("flag", [True, False])
    def test_a_root_flag_and_a_tree_of_roots_that_disagree_are_found_and_mended_either_way(
        self, directory, flag, twice
    ):
        directory.store(Person("b", friend=Person("a")), id="b")
        with directory.new_scope() as scope:
            a = scope.object_to_id(scope.get("b").friend)
        if flag:
            directory.set_root(a)
        edit(directory, lambda root: root["roots"].remove(a) if flag else root["roots"].insert(a))

        assert found(directory) == [(Kind.ROOT, a)]
        first, second = (
            (directory.unset_root, directory.set_root) if flag else (directory.set_root, directory.unset_root)
        )
        first(a)
        if twice:
            second(a)
        assert found(directory) == []
        assert directory.is_root(a) is (flag is twice)

    def test_a_root_without_an_object_is_found_and_can_be_removed(self, directory):
        edit(directory, lambda root: root["roots"].insert("x"))

        assert found(directory) == [(Kind.ROOT, "x")]
        remove(directory, "x")
        assert found(directory) == []

    def test_a_class_that_is_not_loaded_is_a_warning_once(self, directory):
        fill(directory, 3)
        directory.store(Account(), id="a")
        path = directory.location
        directory.close()
        with kiokupy.connect("File", path=path, allow_classes=[Account]) as other:
            report = fsck(other)

        assert [(f.kind, f.subject) for f in report.findings] == [(Kind.CLASS, "graph_classes:Person")]
        assert report.ok

    @pytest.mark.parametrize("module", ["module_that_is_gone", "module_that_fails"])
    def test_a_class_whose_module_cannot_be_imported_is_a_warning(self, directory, tmp_path, monkeypatch, module):
        (tmp_path / "module_that_fails.py").write_text("1 / 0")
        monkeypatch.syspath_prepend(tmp_path)
        directory.typemap.allow(module)
        edit(directory, lambda root: root["entries"].update({"x": Entry(Record(f"{module}:X", None, b"N.", (), 0))}))

        assert found(directory) == [(Kind.CLASS, f"{module}:X"), (Kind.UNREFERENCED, "x")]


class TestRecords:
    @pytest.mark.parametrize(
        "record",
        [
            Record("x:X", None, b"no pickle", (), 0),
            Record("x:X", b"no pickle", b"N.", (), 0),
            Record("x:X", None, "no bytes", (), 0),
            Record("x:X", None, b"N.", ["no tuple"], 0),
            Record("x:X", None, b"N.", (1,), 0),
            Record(7, None, b"N.", (), 0),
        ],
    )
    def test_a_record_that_kiokupy_did_not_write_is_found_and_can_be_removed(self, directory, record):
        fill(directory, 3)
        edit(directory, lambda root: root["entries"].update({"001x": Entry(record)}))

        assert found(directory) == [(Kind.RECORD, "001x")]
        remove(directory, "001x")
        assert found(directory) == []

    @pytest.mark.parametrize(
        "data",
        [
            b"cx\nX\n.N.",
            b"ckiokupy.entry\nEntry\n.N.",
            b"ckiokupy.entry\nEntry\n.(K\x01tp0\n.",
            b"ckiokupy.entry\nEntry\n.(K\x63tp0\n.",
            b"ckiokupy.entry\nEntry\n.(K\x01](U\x01wU\x01xeQt.",
        ],
        ids=["class", "state", "short", "too new", "reference"],
    )
    def test_bytes_that_are_no_entry_are_found(self, directory, data):
        fill(directory, 3)
        overwrite(directory, oid_of(directory, lambda root: root["entries"]["001"]), data)

        assert found(directory) == [(Kind.RECORD, "001")]

    def test_a_missing_record_is_found_and_the_object_can_be_removed(self, directory):
        fill(directory, 3)
        erase(directory, oid_of(directory, lambda root: root["entries"]["001"]))

        assert found(directory) == [(Kind.RECORD, "001")]
        remove(directory, "001")
        assert found(directory) == []

    @pytest.mark.parametrize("deed", [erase, lambda directory, oid: overwrite(directory, oid, b"\x80\x03}q\x01(X")])
    def test_a_part_of_a_persistent_object_that_is_missing_or_unreadable_is_found(self, directory, deed):
        with directory.new_scope() as scope:
            account = Account(Account())
            scope.store(account, id="a")
        with directory.new_scope() as scope:
            oid = scope.get("a").owner._p_oid
        deed(directory, oid)

        assert found(directory) == [(Kind.RECORD, "a")]

    def test_what_is_under_no_id_or_no_entry_is_found(self, directory):
        fill(directory, 2)
        edit(directory, lambda root: root["entries"].update({"001x": "no entry"}))

        assert found(directory) == [(Kind.RECORD, "'001x'")]

    def test_many_findings_are_counted_and_not_all_kept(self, directory):
        edit(directory, lambda root: root["roots"].update(f"{n:04}" for n in range(1100)))

        report = fsck(directory)

        assert (len(report.findings), report.counts[Kind.ROOT]) == (1000, 1100)


class TestSessions:
    @pytest.fixture
    def key(self, directory):
        SessionManager(directory).create()
        with directory.new_unit() as unit:
            (key,) = unit.root["sessions"]
        return key

    def test_a_session_that_is_not_found_by_its_principal_is_found(self, directory):
        session = SessionManager(directory).open()
        session.login("alice")
        with directory.new_unit() as unit:
            unit.root["principals"].clear()
            unit.commit()

        (finding,) = fsck(directory).findings
        assert (finding.kind, finding.detail) == (Kind.SESSION, "it is not among the sessions of its principal")

    def test_a_session_that_refers_to_what_is_not_there_is_found(self, directory):
        directory.store(Person("Ann"), id="ann")
        session = SessionManager(directory).create()
        session["user"] = directory.get("ann")
        session.flush()
        assert fsck(directory).findings == []
        directory.delete("ann")

        (finding,) = fsck(directory).findings
        assert (finding.kind, finding.target) == (Kind.REFERENCE, "ann")

    @pytest.mark.parametrize(
        "record",
        [
            Record("kiokupy:Session", None, b"N.", (), 0),
            Record("kiokupy:Session", b"\x80\x04)}\x86.", b"N.", (), 0),
            Record("kiokupy:Session", b"\x80\x04(K\x01K\x02Nt}\x86.", b"N.", (), 0),
            Record("x:X", b"\x80\x04(K\x01K\x02G@\x08\x00\x00\x00\x00\x00\x00t}\x86.", b"N.", (), 0),
            Record("kiokupy:Session", b"\x80\x04(K\x01K\x02G@\x08\x00\x00\x00\x00\x00\x00t}\x86.", b"x", (), 0),
        ],
    )
    def test_a_session_that_cannot_be_read_is_found_and_can_be_removed(self, directory, key, record):
        edit(directory, lambda root: setattr(root["sessions"][key], "record", record))

        assert found(directory) == [(Kind.SESSION, key.hex())]
        remove(directory, key.hex(), session=True)
        assert found(directory) == []

    def test_a_session_under_something_else_than_a_hash_is_found(self, directory):
        edit(directory, lambda root: root["sessions"].update({"key": "no entry"}))
        assert found(directory) == [(Kind.SESSION, "'key'")]


class TestTrees:
    def test_a_missing_leaf_hides_only_what_is_in_it(self, directory):
        fill(directory)
        remove(directory, "007")
        edit(directory, lambda root: root["roots"].insert("007"))
        lost = leaves(directory)[5]
        erase(directory, lost)

        report = fsck(directory)

        (tree,) = [finding for finding in report.findings if finding.kind is Kind.TREE]
        assert tree.subject == "entries"
        assert 180 < report.objects < 200
        # Each root in the missing leaf is without its object.
        assert report.counts[Kind.ROOT] == 200 - report.objects
        assert report.roots == 200

    @pytest.mark.parametrize(
        ("leaf", "change"),
        [
            (3, lambda items: [*items[2:4], *items[:2], *items[4:]]),
            (3, lambda items: ["zzz", *items[1:2]]),
            (0, lambda items: ["zzz", *items[1:2]]),
            (3, lambda items: ["000", *items[1:]]),
            (3, lambda items: [7, *items[1:]]),
        ],
        ids=["order", "above", "above in the first", "below", "type"],
    )
    def test_a_leaf_whose_keys_are_out_of_order_is_found(self, directory, leaf, change):
        fill(directory)
        self.rewrite(directory, leaves(directory)[leaf], change)

        (problem,) = self.trees(directory)
        assert "out of order" in problem or "not supported between" in problem

    def test_a_leaf_that_iteration_passes_over_is_found(self, directory):
        fill(directory)
        first, second, third, *_ = leaves(directory)
        with directory.new_unit() as unit:
            bucket, other = unit.connection.get(first), unit.connection.get(third)
            bucket.__setstate__((bucket.__getstate__()[0], other))
            bucket._p_changed = True
            unit.commit()

        (problem,) = self.trees(directory)
        assert problem.startswith(f"from {self.first_key(directory, second)!r} to before")
        assert "iteration passes it over" in problem

    def test_a_leaf_that_is_in_the_tree_twice_is_found_and_the_walk_ends(self, directory):
        fill(directory)
        self.rewrite_root(directory, lambda items: [*items[:2], items[0], *items[3:]])

        assert any("in it twice" in problem for problem in self.trees(directory))

    @pytest.mark.parametrize(
        "change",
        [
            lambda items: [items[0], items[3], items[2], items[1], *items[4:]],
            lambda items: items[:-1],
            lambda items: [items[0], items[1], "no node", *items[3:]],
        ],
        ids=["order", "too few", "no node"],
    )
    def test_an_inner_node_that_is_damaged_is_found(self, directory, change):
        fill(directory)
        self.rewrite_root(directory, change)

        assert self.trees(directory) != []

    @pytest.mark.parametrize(
        "data", [b"cx\nX\n.N.", b"ckiokupy.entry\nEntryTree\n.K\x01.", b"cBTrees.OOBTree\nOOSet\n.N."]
    )
    def test_a_tree_that_is_something_else_is_found(self, directory, data):
        overwrite(directory, oid_of(directory, lambda root: root["roots"]), data)

        assert found(directory) == [(Kind.TREE, "roots")]

    def test_a_tree_that_is_not_there_is_found(self, directory):
        edit(directory, lambda root: root.pop("roots"))

        assert found(directory) == [(Kind.TREE, "roots")]

    def test_without_a_tree_of_roots_all_roots_are_named(self, directory):
        fill(directory, 3)
        erase(directory, oid_of(directory, lambda root: root["roots"]))

        assert found(directory) == [*((Kind.ROOT, f"{n:03}") for n in range(3)), (Kind.TREE, "roots")]

    def test_all_trees_may_be_damaged_at_once(self, directory):
        fill(directory)
        with directory.new_unit() as unit:
            oids = [unit.root[name]._p_oid for name in ("entries", "roots", "sessions")]
        for oid in oids:
            erase(directory, oid)

        assert found(directory) == [(Kind.TREE, "entries"), (Kind.TREE, "roots"), (Kind.TREE, "sessions")]

    def test_a_leaf_with_a_key_too_many_is_found(self, directory):
        fill(directory)
        state = b"\x80\x03(X\x01\x00\x00\x00at\x85."
        overwrite(directory, leaves(directory)[2], b"cBTrees.OOBTree\nOOBucket\n." + state)

        assert len(self.trees(directory)) >= 1

    def first_key(self, directory, oid):
        with directory.new_unit() as unit:
            return unit.connection.get(oid).minKey()

    def rewrite(self, directory, oid, change):
        with directory.new_unit() as unit:
            bucket = unit.connection.get(oid)
            items, *following = bucket.__getstate__()
            bucket.__setstate__((tuple(change(list(items))), *following))
            bucket._p_changed = True
            unit.commit()

    def rewrite_root(self, directory, change):
        """Rewrite the top node of the tree of entries; the tree itself would refuse some states."""
        with directory.new_unit() as unit:
            tree = unit.root["entries"]
            items, first = tree.__getstate__()
            oid = tree._p_oid
            parts = [
                repr_of(item) if isinstance(item, str) else b"(C\x08" + item._p_oid + class_of(item) + b"tQ"
                for item in change(list(items))
            ]
            end = b"(C\x08" + first._p_oid + class_of(first) + b"tQ"
        overwrite(directory, oid, b"ckiokupy.entry\nEntryTree\n.\x80\x03((" + b"".join(parts) + b"t" + end + b"t.")

    def trees(self, directory):
        return [finding.detail for finding in fsck(directory).findings if finding.kind is Kind.TREE]


def repr_of(text):
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def class_of(obj):
    return f"c{type(obj).__module__}\n{type(obj).__qualname__}\n".encode()


def test_an_index_that_disagrees_with_the_objects_is_found_and_the_fix_mends_it(tmp_path):
    index = kiokupy.Index("name", on=Person)
    with kiokupy.connect("File", path=tmp_path / "s.fs", allow_classes=CLASSES, indexes=[index]) as directory:
        directory.store(Person("Ada"), id="ada")
        assert fsck(directory).ok
        edit(directory, lambda root: root["entries"].__setitem__("eve", Entry(root["entries"]["ada"].record)))
        assert found(directory) == [(Kind.ROOT, "eve"), (Kind.INDEX, "name")]
        reindex(directory)
        assert found(directory) == [(Kind.ROOT, "eve")]


def test_an_index_whose_tree_is_damaged_hides_nothing_else(tmp_path):
    index = kiokupy.Index("name", on=Person)
    with kiokupy.connect("File", path=tmp_path / "s.fs", allow_classes=CLASSES, indexes=[index]) as directory:
        directory.store(Person("Ada"), id="ada")
        edit(directory, lambda root: root["indexes"].__setitem__("name", {}))
        assert found(directory) == [(Kind.INDEX, "name")]
        reindex(directory)
        assert fsck(directory).ok


def test_progress_is_told(directory):
    fill(directory, 600)
    steps = []
    fsck(directory, progress=steps.append)
    assert [(s.task, s.done) for s in steps if s.task == "check entries"] == [
        ("check entries", 500),
        ("check entries", 600),
    ] * 2
    assert {"check the file", "check roots", "check sessions"} <= {step.task for step in steps}


def test_a_store_open_for_reading_can_be_checked_beside_a_writer(directory):
    fill(directory, 3)
    with kiokupy.connect("File", path=directory.location, readonly=True, allow_classes=CLASSES) as reader:
        fill_more = Person("more")
        directory.store(fill_more, id="more")
        assert found(reader) == []
