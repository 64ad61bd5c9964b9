"""Errors about objects, transactions and sessions."""

from __future__ import annotations

from transaction.interfaces import TransientError

from kiokupy.errors.root import KiokuError


class InvalidId(KiokuError, ValueError):
    """An id is no non-empty string of at most 200 characters."""

    def __init__(self, id: object) -> None:
        super().__init__(
            f"{id!r:.80} cannot be an id. An id is a non-empty string of at most 200 characters without lone surrogates"
        )
        self.id = id


class InvalidMoment(KiokuError, ValueError):
    """What was given as a moment of the past is none."""

    def __init__(self, moment: object, problem: str) -> None:
        super().__init__(
            f"{moment!r:.200} {problem}. Give a datetime with a time zone, such as datetime.now(UTC), or a revision "
            "that history() gave"
        )
        self.moment = moment


class NotFound(KiokuError, LookupError):
    """No object has this id."""

    def __init__(self, id: str) -> None:
        super().__init__(f"no object has the id {id!r}. Use lookup() to get None instead")
        self.id = id


class DuplicateId(KiokuError):
    """The id belongs to another object, or the object already has an id."""

    def __init__(self, id: str, *, problem: str = "") -> None:
        super().__init__(
            problem
            or f"another object has the id {id!r}. Delete it first, change the object that get({id!r}) "
            "returns, or choose another id"
        )
        self.id = id


class NotStored(KiokuError):
    """The scope does not know this object."""

    def __init__(self, object: object, *, path: str = "") -> None:
        where = f" at {path}" if path else ""
        super().__init__(
            f"this {type(object).__qualname__}{where} has no id in this scope. Store it first with store()"
        )
        self.object, self.path = object, path


class NotStorable(KiokuError, TypeError):
    """The type map refuses an object on its way into the store."""

    def __init__(self, path: str, class_name: str, *, reason: str = "", fix: str = "") -> None:
        reason = reason or f"{class_name} is not in the type map"
        super().__init__(f"{path} cannot be stored: {reason}{'. ' if fix else ''}{fix}")
        #: The way from the stored object to the culprit, such as ``cart['items'][2].gadget``.
        self.path = path
        #: The culprit's class as ``module:qualname``.
        self.class_name = class_name


class NotLoadable(KiokuError):
    """The type map refuses a class or function that a record names, or it cannot be imported."""

    def __init__(self, class_name: str, *, id: str | None = None, reason: str = "", gone: bool = False) -> None:
        owner = f" (in the record of {id!r})" if id is not None else ""
        allow = f"connect(..., allow_classes=[{class_name.rpartition(':')[2]}])"
        super().__init__(
            f"{class_name}{owner} is not loaded: "
            + (reason or f"it is not in the type map. If it is yours, pass it: {allow}")
        )
        self.class_name, self.id = class_name, id
        #: The type map names the class, and there is none of that name.
        self.gone = gone


class BrokenReference(KiokuError):
    """A stored object refers to an id that is gone."""

    def __init__(self, *, referrer: str, target: str, path: str = "") -> None:
        where = f" at {path}" if path else ""
        super().__init__(
            f"object {referrer!r} refers{where} to {target!r}, which is not in the store. "
            "Store an object under that id, or remove the reference and store the referrer"
        )
        self.referrer, self.target, self.path = referrer, target, path


class ScopeClosed(KiokuError):
    """An unloaded object, or a verb, was used after its scope ended."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} was used after its scope ended. Use it inside `with directory.new_scope()`, "
            "or look it up again in a new scope"
        )
        self.what = what


class ConflictError(KiokuError, TransientError):  # type: ignore[misc]  # transaction has no annotations
    """Another transaction changed the same object first; nothing of this one was written.

    It is a :class:`transaction.interfaces.TransientError`: trying the whole unit of work again may succeed,
    which is what :meth:`kiokupy.Directory.txn_do` does.
    """

    def __init__(self, problem: str = "another transaction changed the same objects") -> None:
        super().__init__(f"{problem}. Try again in a new transaction; txn_do() does that")


class SessionGone(KiokuError):
    """The session was destroyed, regenerated or has expired since it was read."""

    def __init__(self) -> None:
        super().__init__(
            "the session was destroyed, regenerated or has expired since it was read; its changes were not "
            "saved. Open a new session"
        )


class SessionTooLarge(KiokuError):
    """A session, or one value in it, is larger than the policy allows; nothing of it was saved."""

    def __init__(self, size: int, limit: int, *, key: str | None = None) -> None:
        what, setting = (
            (f"session[{key!r:.80}]", "max_value_bytes") if key is not None else ("the session", "max_bytes")
        )
        super().__init__(
            f"{what} would take {size:,} bytes and may take {limit:,}; its changes were not saved. Store large objects "
            f"in the directory and refer to them, or raise SessionPolicy({setting}=...)"
        )
        self.size, self.limit, self.key = size, limit, key


class TooManySessions(KiokuError):
    """A principal has as many sessions as the policy allows, and may not begin another."""

    def __init__(self, principal: str, limit: int) -> None:
        super().__init__(
            f"{principal!r:.80} has {limit} sessions, as many as SessionPolicy(parallel={limit}) allows. End one of "
            'them with end() or destroy_all(), or set at_limit="end_oldest"'
        )
        self.principal, self.limit = principal, limit


class UpgradeMissing(KiokuError):
    """A record has a version of its class that no handler upgrades."""

    def __init__(self, class_name: str, version: str | None, *, wanted: str | None, id: str | None = None) -> None:
        owner = f" (in the record of {id!r})" if id is not None else ""
        super().__init__(
            f"{class_name}{owner} was stored by version {version!r} of its class, and nothing leads from there to "
            f"{wanted!r}. Give its Rule an upgrade: upgrades={{{version!r}: ...}}"
        )
        self.class_name, self.version, self.wanted, self.id = class_name, version, wanted, id


class BrokenObject(KiokuError):
    """An object whose class is gone was to be changed."""

    def __init__(self, class_name: str) -> None:
        super().__init__(
            f"the class {class_name} is gone, so its objects can be looked at and not changed. "
            "Bring the class back, or name its successor: Rule(..., aliases=[...])"
        )
        self.class_name = class_name


class UniqueViolation(KiokuError):
    """Another object has the value that an index keeps unique."""

    def __init__(self, index: str, value: object, *, id: str, other: str) -> None:
        super().__init__(
            f"{value!r:.80} as {index} of object {id!r} is taken by object {other!r}. "
            "Change one of them, or declare the index without unique=True"
        )
        self.index, self.value, self.id, self.other = index, value, id, other


class NotIndexed(KiokuError):
    """A search needs an index that is not declared, or not built."""

    def __init__(self, index: str, *, problem: str = "", fix: str = "") -> None:
        super().__init__(
            f"{problem or f'there is no index {index!r}'}. "
            + (fix or f"Declare it: connect(..., indexes=[Index({index!r})]), or look at every object: grep()")
        )
        self.index = index


class NotIndexable(KiokuError, TypeError):
    """A value has no place in the order of an index: an object has it there, or it was searched for."""

    def __init__(self, index: str, value: object, *, problem: str, fix: str, id: str | None = None) -> None:
        what = f"object {id!r} cannot be in" if id is not None else "nothing can be found in"
        super().__init__(f"{what} the index {index!r} by {value!r:.80}: {problem}. {fix}")
        self.index, self.value, self.id = index, value, id


class CannotUndo(KiokuError):
    """What came later depends on the revision that was to be undone."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"{problem}. Look the object up as it was, new_scope(at=...), and take what is still wanted over into the "
            "object as it is"
        )


class StreamError(KiokuError, ValueError):
    """A line of a dump cannot be loaded; nothing of it was written."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line} of the dump cannot be loaded: {problem}. Nothing was written")
        self.line = line
