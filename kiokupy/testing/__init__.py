"""The suites that show a backend fit to keep graphs, and a web adapter fit to keep sessions; kiokupy's own run them.

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

A web adapter's author subclasses :class:`AdapterSuite`, and serves the suite's site with the adapter: an application of
one view, which gives ``site.answer()`` the request's session, the path and the query. For example, with an adapter for
WSGI, and a server that runs it in threads of the test's process::

    from kiokupy.testing import AdapterCapability, AdapterSuite

    class TestMine(AdapterSuite):
        capabilities = {AdapterCapability.LAZY, AdapterCapability.MERGING}

        @pytest.fixture
        def url(self, site, manager, cookie):
            def view(environ, start_response):
                answer = site.answer(environ["my.session"], environ["PATH_INFO"], environ["QUERY_STRING"])
                start_response(answer.status_line, answer.headers)
                return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

            with served(MyMiddleware(view, manager, cookie)) as url:
                yield url

The tests visit it over real HTTP: sessions are begun, changed, moved and ended, ids are planted, requests overlap and
fail, and time passes. What is done to a session by other words in the adapter's framework is said in a subclass of
:class:`Site`, at ``site_class``; its pages are in :mod:`kiokupy.testing.adapters.site`.

They need pytest; nothing else of kiokupy does.
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
