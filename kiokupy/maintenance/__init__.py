"""Maintenance: what keeps a store healthy, as calls on an open directory."""
