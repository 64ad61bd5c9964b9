"""Collections: sets, maps and lists too big to be loaded whole, for use inside plain objects."""
