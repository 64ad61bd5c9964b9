"""Maintenance: what keeps a store healthy, as calls on an open directory."""

from kiokupy.maintenance.upgrading import Upgraded, upgrade

__all__ = ["Upgraded", "upgrade"]
