"""The suite that shows a backend fit to keep graphs; kiokupy's own backends run it too.

A backend's author subclasses :class:`BackendSuite` in a test module, says what the backend can do, and where a test may
make a store::

    import pytest
    from kiokupy.testing import BackendSuite, Capability

    class TestToy(BackendSuite):
        capabilities = {Capability.LASTING, Capability.READONLY}

        @pytest.fixture
        def target(self, tmp_path):
            return {"backend": "Toy", "path": tmp_path / "store"}

Every test has a store of its own. One that needs a capability which is not declared is skipped, and says which. After
each test the suite looks for what was left behind: unloaded objects, open connections, threads, a store that cannot be
opened again.

It needs pytest; nothing else of kiokupy does.
"""

import pkgutil

import pytest

# Before they are imported, so that a failure shows its values.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))

from kiokupy.testing.adapters.site import Answer, Site  # noqa: E402  # as the comment above says
from kiokupy.testing.adapters.suite import AdapterSuite  # noqa: E402
from kiokupy.testing.capabilities import AdapterCapability, Capability, needs  # noqa: E402
from kiokupy.testing.suite import BackendSuite  # noqa: E402

__all__ = ["AdapterCapability", "AdapterSuite", "Answer", "BackendSuite", "Capability", "Site", "needs"]
