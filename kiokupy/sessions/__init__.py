"""Web sessions kept in a directory."""
