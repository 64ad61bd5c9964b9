"""Session policy: clocks and limits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from kiokupy.errors import SettingsError


@dataclass(frozen=True)
class SessionPolicy:
    """How long sessions live. All times are seconds; ``None`` means no limit.

    :param idle: a session ends when it was not used for so long (default: 30 minutes).
    :param absolute: a session ends so long after it was created, used or not (default: 12 hours).
    :param resolution: use is written down at most once in so many seconds, so that reading does not write each time
        (default: 60); a session may end that much sooner than ``idle`` says.
    :param clock: answers the time now, in seconds since 1970 UTC.
    """

    idle: float | None = 30 * 60
    absolute: float | None = 12 * 60 * 60
    resolution: float = 60
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        for name in ("idle", "absolute"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} is a number of seconds above 0, or None, not {value!r}", target=name)
        if not 0 <= self.resolution < (self.idle or float("inf")):
            raise SettingsError(
                f"resolution is a number of seconds from 0 to below idle, not {self.resolution!r}",
                target="resolution",
            )

    def expiry(self, created: float, used: float) -> float:
        """Return when a session ends that was created and last used at these times."""
        idle_end = float("inf") if self.idle is None else used + self.idle
        absolute_end = float("inf") if self.absolute is None else created + self.absolute
        return min(idle_end, absolute_end)
