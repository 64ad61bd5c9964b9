"""Each error: what it says, the evidence it carries, its place in the tree."""

import inspect
import pickle

import pytest

import kiokupy
from kiokupy import errors

CASES = [
    (errors.KiokuError("x"), "x", {}),
    (errors.TargetError("no", target="t", fix="Do this"), "no. Do this", {"target": "t"}),
    (errors.TargetError("no"), "no", {"target": None}),
    (
        errors.UnknownBackend("Fiel", known=["Hash", "File"], near=["File"]),
        "there is no backend 'Fiel'. Did you mean 'File'? Installed backends: File, Hash",
        {"name": "Fiel", "known": ["File", "Hash"], "near": ["File"]},
    ),
    (
        errors.BackendMissing("DBI", install="kiokupy[dbi]"),
        "the backend 'DBI' needs packages that are not installed. Install them with: pip install 'kiokupy[dbi]'",
        {"name": "DBI", "install": "kiokupy[dbi]"},
    ),
    (errors.SettingsError("no"), "no", {"target": None}),
    (errors.StoreError("a.fs", "no", fix="Do this"), "a.fs: no. Do this", {"location": "a.fs"}),
    (
        errors.StoreNotFound("a.fs"),
        "a.fs: there is no store here. Check the place; connect() with create=1, which is the default, makes a new store",
        {"location": "a.fs"},
    ),
    (
        errors.StoreLocked("a.fs", pid=5),
        "a.fs: process 5 holds this store. Open it with readonly=1 to look at it, or share it between processes through "
        "the DBI or ZEO backend",
        {"pid": 5},
    ),
    (
        errors.StoreLocked("a.fs"),
        "a.fs: another process holds this store. Open it with readonly=1 to look at it, or share it between processes "
        "through the DBI or ZEO backend",
        {"pid": None},
    ),
    (
        errors.StoreBusy("a", words="database is locked"),
        "a: another transaction keeps it locked for too long (database is locked). Try again when that is over, or let it "
        "wait longer with the option commit_lock_timeout",
        {"location": "a"},
    ),
    (errors.StoreUnreachable("a", "no"), "a: no", {"location": "a"}),
    (errors.StoreDenied("a", "no"), "a: no", {"location": "a"}),
    (errors.StoreUnreadable("a", "no"), "a: no", {"location": "a"}),
    (
        errors.StoreTooNew("a", found=2, supported=1),
        "a: the store has format 2; this kiokupy reads up to 1. Upgrade with: pip install --upgrade kiokupy",
        {"found": 2, "supported": 1},
    ),
    (
        errors.StoreReadOnly("a"),
        "a: opened read-only. Open it without readonly to write; the past, at=, never changes",
        {},
    ),
    (
        errors.InvalidId(""),
        "'' cannot be an id. An id is a non-empty string of at most 200 characters without lone surrogates",
        {"id": ""},
    ),
    (
        errors.InvalidMoment("noon", "is no moment"),
        "'noon' is no moment. Give a datetime with a time zone, such as datetime.now(UTC), or a revision that history() "
        "gave",
        {"moment": "noon"},
    ),
    (errors.NotFound("x"), "no object has the id 'x'. Use lookup() to get None instead", {"id": "x"}),
    (
        errors.DuplicateId("x"),
        "another object has the id 'x'. Delete it first, change the object that get('x') returns, or choose another id",
        {"id": "x"},
    ),
    (errors.DuplicateId("x", problem="no"), "no", {"id": "x"}),
    (
        errors.NotStored({}, path="a.b"),
        "this dict at a.b has no id in this scope. Store it first with store()",
        {"path": "a.b", "object": {}},
    ),
    (errors.NotStored({}), "this dict has no id in this scope. Store it first with store()", {"path": ""}),
    (
        errors.NotStorable("cart.gadget", "shop:Gadget", fix="Do this"),
        "cart.gadget cannot be stored: shop:Gadget is not in the type map. Do this",
        {"path": "cart.gadget", "class_name": "shop:Gadget"},
    ),
    (errors.NotStorable("a", "shop:Gadget", reason="it is odd"), "a cannot be stored: it is odd", {}),
    (
        errors.NotLoadable("shop:Gadget", id="x"),
        "shop:Gadget (in the record of 'x') is not loaded: it is not in the type map. If it is yours, pass it: "
        "connect(..., allow_classes=[Gadget])",
        {"class_name": "shop:Gadget", "id": "x"},
    ),
    (errors.NotLoadable("shop:Gadget", reason="it is odd"), "shop:Gadget is not loaded: it is odd", {"id": None}),
    (
        errors.NoHistory("a"),
        "a: this store keeps no history. File keeps it until it is packed, and DBI if the store was made with keep_history=1",
        {"location": "a"},
    ),
    (
        errors.UpgradeMissing("shop:Cart", "1", wanted="3", id="x"),
        "shop:Cart (in the record of 'x') was stored by version '1' of its class, and nothing leads from there to '3'. "
        "Give its Rule an upgrade: upgrades={'1': ...}",
        {"class_name": "shop:Cart", "version": "1", "wanted": "3", "id": "x"},
    ),
    (
        errors.UpgradeMissing("shop:Cart", None, wanted="3"),
        "shop:Cart was stored by version None of its class, and nothing leads from there to '3'. "
        "Give its Rule an upgrade: upgrades={None: ...}",
        {"id": None},
    ),
    (
        errors.BrokenObject("shop:Cart"),
        "the class shop:Cart is gone, so its objects can be looked at and not changed. Bring the class back, or name its "
        "successor: Rule(..., aliases=[...])",
        {"class_name": "shop:Cart"},
    ),
    (
        errors.UniqueViolation("email", "a@b", id="x", other="y"),
        "'a@b' as email of object 'x' is taken by object 'y'. Change one of them, or declare the index without unique=True",
        {"index": "email", "value": "a@b", "id": "x", "other": "y"},
    ),
    (
        errors.NotIndexed("age"),
        "there is no index 'age'. Declare it: connect(..., indexes=[Index('age')]), or look at every object: grep()",
        {"index": "age"},
    ),
    (errors.NotIndexed("age", problem="it is odd", fix="Do this"), "it is odd. Do this", {}),
    (
        errors.NotIndexable("age", "old", problem="it is text", fix="Do this"),
        "nothing can be found in the index 'age' by 'old': it is text. Do this",
        {"index": "age", "value": "old", "id": None},
    ),
    (
        errors.NotIndexable("age", "old", problem="it is text", fix="Do this", id="x"),
        "object 'x' cannot be in the index 'age' by 'old': it is text. Do this",
        {"id": "x"},
    ),
    (
        errors.CannotUndo("it is late"),
        "it is late. Look the object up as it was, new_scope(at=...), and take what is still wanted over into the object "
        "as it is",
        {},
    ),
    (
        errors.StreamError(7, "it is odd"),
        "line 7 of the dump cannot be loaded: it is odd. Nothing was written",
        {"line": 7},
    ),
    (
        errors.BrokenReference(referrer="a", target="b", path="person.friend"),
        "object 'a' refers at person.friend to 'b', which is not in the store. Store an object under that id, or remove "
        "the reference and store the referrer",
        {"referrer": "a", "target": "b", "path": "person.friend"},
    ),
    (
        errors.BrokenReference(referrer="a", target="b"),
        "object 'a' refers to 'b', which is not in the store. Store an object under that id, or remove the reference and "
        "store the referrer",
        {"path": ""},
    ),
    (
        errors.ScopeClosed("an unloaded Person"),
        "an unloaded Person was used after its scope ended. Use it inside `with directory.new_scope()`, or look it up "
        "again in a new scope",
        {"what": "an unloaded Person"},
    ),
    (
        errors.ConflictError(),
        "another transaction changed the same objects. Try again in a new transaction; txn_do() does that",
        {},
    ),
    (
        errors.SessionGone(),
        "the session was destroyed, regenerated or has expired since it was read; its changes were not saved. Open a new "
        "session",
        {},
    ),
    (
        errors.SessionTooLarge(1_200_000, 1_048_576),
        "the session would take 1,200,000 bytes and may take 1,048,576; its changes were not saved. Store large objects "
        "in the directory and refer to them, or raise SessionPolicy(max_bytes=...)",
        {"size": 1_200_000, "limit": 1_048_576, "key": None},
    ),
    (
        errors.SessionTooLarge(2000, 1000, key="cart"),
        "session['cart'] would take 2,000 bytes and may take 1,000; its changes were not saved. Store large objects "
        "in the directory and refer to them, or raise SessionPolicy(max_value_bytes=...)",
        {"size": 2000, "limit": 1000, "key": "cart"},
    ),
    (
        errors.TooManySessions("alice", 3),
        "'alice' has 3 sessions, as many as SessionPolicy(parallel=3) allows. End one of them with end() or "
        'destroy_all(), or set at_limit="end_oldest"',
        {"principal": "alice", "limit": 3},
    ),
]


def tree():
    """Return every error class with its depth, as the classes themselves say."""

    def walk(cls, depth):
        yield cls.__name__, depth
        for below in cls.__subclasses__():
            yield from walk(below, depth + 1)

    return dict(walk(errors.KiokuError, 0))


@pytest.mark.parametrize(("error", "message", "evidence"), CASES, ids=lambda case: type(case).__name__)
def test_an_error_says_what_is_wrong_and_carries_the_evidence(error, message, evidence):
    assert str(error) == message
    assert {name: getattr(error, name) for name in evidence} == evidence


def test_every_error_is_tried_here():
    assert {type(error).__name__ for error, _, _ in CASES} == set(tree())


def test_every_error_of_the_module_is_in_the_tree_and_public():
    defined = {name for name, cls in vars(errors).items() if inspect.isclass(cls) and cls.__module__ == errors.__name__}

    assert defined == set(tree()) == defined & set(kiokupy.__all__)


def test_the_drawing_at_the_top_of_the_module_is_the_tree():
    drawn = {}
    for line in errors.__doc__.splitlines():
        words = line.replace("│", " ").replace("├──", " * ").replace("└──", " * ").split("*")
        if len(words) == 2 or line.strip() == "KiokuError":
            drawn[words[-1].split()[0]] = (len(words[0]) - 4) // 4 + 1 if len(words) == 2 else 0

    assert drawn == tree()


def test_errors_are_also_what_the_field_expects():
    assert issubclass(errors.TargetError, ValueError)
    assert issubclass(errors.NotFound, LookupError)
    assert issubclass(errors.InvalidMoment, ValueError)
    assert issubclass(errors.NotStorable, TypeError)


def test_an_error_crosses_to_another_process_with_its_evidence():
    error = pickle.loads(pickle.dumps(errors.StoreLocked("a.fs", pid=5)))

    assert (str(error), error.location, error.pid) == (str(errors.StoreLocked("a.fs", pid=5)), "a.fs", 5)
