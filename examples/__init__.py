"""Examples; each can be run."""
