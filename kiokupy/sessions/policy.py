"""Session policy: clocks and limits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from kiokupy.errors import SettingsError
from kiokupy.sessions.facts import Facts

_DAY = 24 * 60 * 60
_ENDS_OLDEST, _REFUSES = "end_oldest", "refuse"
_LONGEST_COOKIE = 400 * _DAY  # browsers cut off what is longer (RFC 6265bis, 5.5)


@dataclass(frozen=True)
class SessionPolicy:
    """How long sessions live, how large they are and how many. Times are seconds; ``None`` means no limit.

    :param idle: a session ends when it was not used for so long (default: 30 minutes).
    :param absolute: a session ends so long after its principal was authenticated, or else after it was created, used or
        not (default: 12 hours).
    :param resolution: use is written down at most once in so many seconds, so that reading does not write each time
        (default: 60), or in half the idle time where that is less; a session may end that much sooner than ``idle``
        says.
    :param overlap: after a session moved to a new id, the old one leads to it for so many seconds, for the requests
        that are under way (default: 0, the old id is dead at once). ``login()`` leaves no overlap.
    :param remember_idle: as ``idle``, for sessions whose cookie outlives the browser (default: 14 days).
    :param remember_absolute: as ``absolute``, for these (default: 90 days).
    :param max_bytes: how many bytes the data of a session may take in the store (default: 1 MiB).
    :param max_value_bytes: how many bytes one value may take (default: no limit of its own).
    :param parallel: how many sessions a principal may have at a time (default: no limit).
    :param at_limit: what a login beyond that does: ``"end_oldest"`` ends the sessions not used for longest,
        ``"refuse"`` raises :class:`~kiokupy.errors.TooManySessions`.
    :param fresh: how long after authentication a session is fresh enough for what is sensitive (default: 10 minutes).
    :param clock: answers the time now, in seconds since 1970 UTC.
    :raises SettingsError: a value makes no sense.
    """

    idle: float | None = 30 * 60
    absolute: float | None = 12 * 60 * 60
    resolution: float = 60
    overlap: float = 0
    remember_idle: float | None = 14 * _DAY
    remember_absolute: float | None = 90 * _DAY
    max_bytes: int | None = 1 << 20
    max_value_bytes: int | None = None
    parallel: int | None = None
    at_limit: str = _ENDS_OLDEST
    fresh: float = 600
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        for name in ("idle", "absolute", "remember_idle", "remember_absolute"):
            check_limit(name, getattr(self, name))
        for name in ("max_bytes", "max_value_bytes", "parallel"):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and value > 0):
                raise SettingsError(f"{name} is a whole number above 0, or None, not {value!r}", target=name)
        for name in ("resolution", "overlap", "fresh"):
            if not _is_number(getattr(self, name)) or not 0 <= getattr(self, name) < math.inf:
                raise SettingsError(f"{name} is a number of seconds from 0, not {getattr(self, name)!r}", target=name)
        if self.at_limit not in (_ENDS_OLDEST, _REFUSES):
            fix = f"It is {_ENDS_OLDEST!r} or {_REFUSES!r}"
            raise SettingsError(f"at_limit is {self.at_limit!r}", target="at_limit", fix=fix)

    @property
    def refuses(self) -> bool:
        """Whether a login beyond the limit of parallel sessions is refused."""
        return self.at_limit == _REFUSES

    def expiry(self, facts: Facts, used: float | None = None) -> float:
        """Return when a session ends of which these facts are true.

        :param used: when it was used last, if not when the facts say.
        """
        absolute = _own_or(facts.absolute, self.remember_absolute if facts.lasting else self.absolute)
        begun = facts.created if facts.authenticated is None else facts.authenticated
        return min((facts.used if used is None else used) + self._idle(facts), begun + absolute)

    def is_renewal_due(self, facts: Facts) -> bool:
        """Tell whether the use of a session is to be written down, though nothing else changed."""
        return self.clock() - facts.used >= min(self.resolution, self._idle(facts) / 2)

    def max_age(self, facts: Facts) -> int | None:
        """Return for how many seconds a browser is to keep the cookie; ``None``: until it ends."""
        return math.ceil(min(facts.expires - self.clock(), _LONGEST_COOKIE)) if facts.lasting else None

    def _idle(self, facts: Facts) -> float:
        return _own_or(facts.idle, self.remember_idle if facts.lasting else self.idle)


def check_limit(name: str, value: float | None) -> float:
    """Return a limit of a session's life, infinity for ``None``.

    :raises SettingsError: it is none.
    """
    if value is not None and not (_is_number(value) and value > 0):
        raise SettingsError(f"{name} is a number of seconds above 0, or None, not {value!r}", target=name)
    return math.inf if value is None else float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _own_or(own: float | None, limit: float | None) -> float:
    if own is not None:
        return own
    return math.inf if limit is None else limit
