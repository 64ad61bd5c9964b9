"""The contestants, and how durable a write of each is when it returns."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.stores.contract import Missing, Store


class Durability(enum.StrEnum):
    """What a write that has returned needs, to outlive a loss of power."""

    NOW = "yes"
    SOON = "a second"
    LATER = "luck"
    MEMORY = "no: memory"


@dataclass(frozen=True)
class Contestant:
    """Whom to run.

    :param maker: its class, as ``module:name`` in this package, imported where it runs; or a program in Perl here,
        which is a worker by itself.
    :param is_large: whether it also takes part among 100,000 sessions and more.
    """

    name: str
    maker: str
    durable: Durability
    options: Mapping[str, Any] = field(default_factory=dict, compare=False)
    is_large: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether it is kiokupy."""
        return self.name.startswith("kiokupy")

    @property
    def program(self) -> Path | None:
        """The program that is its worker; ``None``: it is one in Python."""
        return Path(__file__).with_name(self.maker) if self.maker.endswith(".pl") else None

    def open(self, folder: Path, **options: Any) -> Store:
        """Open its store in a folder.

        :param options: beside its own.
        :raises Missing: what it stands on is not there.
        """
        module, _, name = self.maker.partition(":")
        folder.mkdir(exist_ok=True)
        try:
            kind: Any = getattr(importlib.import_module(f"benchmarks.stores.{module}"), name)
            store: Store = kind(folder, **self.options, **options)
        except ImportError as error:
            raise Missing(str(error)) from error
        return store


def _contestants() -> list[Contestant]:
    now, soon, later, memory = Durability.NOW, Durability.SOON, Durability.LATER, Durability.MEMORY
    fsync = {"always": now, "everysec": soon, "no": later}
    return [
        Contestant("kiokupy Hash", "kioku:Kioku", memory, {"backend": "Hash"}),
        *(
            Contestant(f"kiokupy {name}", "kioku:Kioku", now, {"backend": name}, is_large=True)
            for name in ("File", "SQLite", "PostgreSQL", "ZEO")
        ),
        *(
            Contestant(f"kiokupy File, {word}", "kioku:Kioku", durable, {"backend": "File", "fsync": word})
            for word, durable in (("everysec", soon), ("never", later))
        ),
        Contestant("raw append + fsync", "appended:Appended", now),
        *(
            Contestant(f"redis-py, AOF {when}", "caches:Redis", durable, {"appendfsync": when}, when == "always")
            for when, durable in fsync.items()
        ),
        *(
            Contestant(
                f"Flask-Session Redis, AOF {when}",
                "flask_sessions:FlaskSession",
                durable,
                {"store": "redis", "appendfsync": when},
            )
            for when, durable in fsync.items()
        ),
        Contestant("Flask-Session files", "flask_sessions:FlaskSession", later, {"store": "files"}),
        *(
            Contestant(f"Flask-Session SQLAlchemy {name}", "flask_sessions:FlaskSession", now, {"store": name})
            for name in ("SQLite", "PostgreSQL")
        ),
        Contestant("Django file", "django_sessions:Django", later, {"engine": "file"}, is_large=True),
        Contestant("Django db SQLite", "django_sessions:Django", now, {"engine": "db"}),
        Contestant(
            "Django db WAL FULL", "django_sessions:Django", now, {"engine": "db", "is_wal": True}, is_large=True
        ),
        Contestant("Django locmem", "django_sessions:Django", memory, {"engine": "cache"}),
        Contestant("diskcache", "caches:Disk", later, is_large=True),
        Contestant("cachelib files", "caches:CacheLib", later, is_large=True),
        Contestant("Beaker file", "caches:Beaker", later, {"type": "file"}),
        Contestant("Beaker memory", "caches:Beaker", memory, {"type": "memory"}),
        Contestant("shelve", "caches:Shelf", later),
        Contestant("bare FileStorage", "bare:Bare", now, {"storage": "FileStorage"}, is_large=True),
        Contestant("bare ZEO", "bare:Bare", now, {"storage": "ZEO"}),
        Contestant("bare MappingStorage", "bare:Bare", memory, {"storage": "MappingStorage"}),
        Contestant("bare RelStorage SQLite", "bare:Bare", now, {"storage": "SQLite"}, is_large=True),
        Contestant("bare RelStorage PostgreSQL", "bare:Bare", now, {"storage": "PostgreSQL"}),
        Contestant("KiokuDB in Perl, Hash", "kiokudb.pl", memory, {"backend": "Hash"}),
        Contestant("KiokuDB in Perl, SQLite", "kiokudb.pl", now, {"backend": "DBI"}),
    ]


CONTESTANTS = {contestant.name: contestant for contestant in _contestants()}
