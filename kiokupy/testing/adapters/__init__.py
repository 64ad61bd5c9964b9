"""The suite for authors of web adapters; see :mod:`kiokupy.testing`."""
