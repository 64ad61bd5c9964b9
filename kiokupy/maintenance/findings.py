"""Findings: what a check of a store finds, each with what to do about it."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

# Of each kind this many are kept; all are counted.
_MOST = 1000


class Kind(enum.StrEnum):
    """What is the matter."""

    FILE = "file"  #: the file under the store is damaged
    TREE = "tree"  #: a tree of the database is damaged: of objects, roots or sessions
    RECORD = "record"  #: an object's record is missing or cannot be read
    SESSION = "session"  #: a session's record is missing or cannot be read
    REFERENCE = "reference"  #: an object refers to one that is not there
    ROOT = "root"  #: an object's root flag and the tree of roots disagree
    INDEX = "index"  #: an index and the objects disagree
    CLASS = "class"  #: a class that the directory's type map does not load; a warning
    UNREFERENCED = "unreferenced"  #: no root, and nothing refers to it; a warning


#: Kinds that harm nothing that is stored.
WARNINGS = frozenset({Kind.CLASS, Kind.UNREFERENCED})


class Finding(NamedTuple):
    """One thing that is the matter with a store."""

    kind: Kind
    #: the id of an object, the SHA-256 of a session's id in hex, the name of a class or tree, or the path of a file
    subject: str
    #: what is the matter with it
    detail: str
    #: what to do about it
    fix: str
    #: of a broken reference, the id that is not there
    target: str | None = None


@dataclass
class Report:
    """What a check found."""

    #: at most a thousand of each kind
    findings: list[Finding] = field(default_factory=list)
    #: how many there are of each kind
    counts: Counter[Kind] = field(default_factory=Counter)
    #: how many objects, roots and sessions were looked at
    objects: int = 0
    roots: int = 0
    sessions: int = 0

    def add(self, finding: Finding) -> None:
        """Note a finding."""
        self.counts[finding.kind] += 1
        if self.counts[finding.kind] <= _MOST:
            self.findings.append(finding)

    @property
    def ok(self) -> bool:
        """Whether nothing was found but warnings."""
        return self.counts.keys() <= WARNINGS

    @property
    def exit_status(self) -> int:
        """What a command exits with: 0 if all is well, else 1."""
        return 0 if self.ok else 1
