"""Maintenance: what keeps a store healthy, as calls on an open directory."""

from kiokupy.maintenance.checking import fsck
from kiokupy.maintenance.copying import Copied, copy
from kiokupy.maintenance.editing import Edited, edit, external
from kiokupy.maintenance.files import fsck_file
from kiokupy.maintenance.findings import Finding, Kind, Report
from kiokupy.maintenance.garbage import Garbage, gc, remove
from kiokupy.maintenance.packing import Packed, pack
from kiokupy.maintenance.progress import Progress, Step, silent
from kiokupy.maintenance.reindexing import check_indexes, reindex, remove_indexes
from kiokupy.maintenance.streams import Dumped, Loaded, dump, load
from kiokupy.maintenance.upgrading import Upgraded, upgrade

__all__ = [
    "Copied",
    "Dumped",
    "Edited",
    "Finding",
    "Garbage",
    "Kind",
    "Loaded",
    "Packed",
    "Progress",
    "Report",
    "Step",
    "Upgraded",
    "check_indexes",
    "copy",
    "dump",
    "edit",
    "external",
    "fsck",
    "fsck_file",
    "gc",
    "load",
    "pack",
    "reindex",
    "remove",
    "remove_indexes",
    "silent",
    "upgrade",
]
