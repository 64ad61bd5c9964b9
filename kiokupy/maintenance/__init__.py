"""Maintenance: what keeps a store healthy, as calls on an open directory."""

from kiokupy.maintenance.checking import fsck
from kiokupy.maintenance.files import fsck_file
from kiokupy.maintenance.findings import Finding, Kind, Report
from kiokupy.maintenance.garbage import Garbage, gc, remove
from kiokupy.maintenance.packing import Packed, pack
from kiokupy.maintenance.progress import Progress, Step, silent
from kiokupy.maintenance.upgrading import Upgraded, upgrade

__all__ = [
    "Finding",
    "Garbage",
    "Kind",
    "Packed",
    "Progress",
    "Report",
    "Step",
    "Upgraded",
    "fsck",
    "fsck_file",
    "gc",
    "pack",
    "remove",
    "silent",
    "upgrade",
]
