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
            if answer.stream is not None:
                start_response(answer.status_line, answer.headers)
                return answer.stream
            start_response(answer.status_line, [*answer.headers, ("Content-Length", str(len(answer.body)))])
            return [answer.body] if environ["REQUEST_METHOD"] != "HEAD" else []

        with serving.served(SessionMiddleware(app, manager, cookie)) as url:
            yield url
