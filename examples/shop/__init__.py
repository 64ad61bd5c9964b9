"""A small shop whose visitors' carts are kept by kiokupy."""
