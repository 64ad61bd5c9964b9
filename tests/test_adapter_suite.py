"""kiokupy's own web adapters pass the suite that it ships for everyone's."""

import pytest
import serving

from kiokupy.testing import AdapterCapability, AdapterSuite
from kiokupy.web.wsgi import SessionMiddleware


class TestWSGI(AdapterSuite):
    capabilities = (AdapterCapability.LAZY, AdapterCapability.STREAMING)

    @pytest.fixture
    def url(self, site, manager, cookie):
        def app(environ, start_response):
            answer = site.answer(environ["kiokupy.session"], environ["PATH_INFO"], environ["QUERY_STRING"])
            start_response(answer.status_line, answer.headers)
            if environ["REQUEST_METHOD"] == "HEAD":
                return []
            return [answer.body] if answer.stream is None else answer.stream

        with serving.served(SessionMiddleware(app, manager, cookie)) as url:
            yield url
