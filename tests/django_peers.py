"""Run Django's own tests of session engines: django_peers.py FOLDER TARGET. FOLDER holds the package sessions_tests."""

import sys
import unittest

import django
from django.conf import settings


def main(folder, target):
    sys.path.insert(0, folder)
    settings.configure(
        SECRET_KEY="for the tests of encode() and decode()",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.sessions", "sessions_tests"],
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        USE_TZ=False,
        SESSION_ENGINE="kiokupy.web.django",
        SESSION_KIOKUPY={"target": target},
    )
    django.setup()
    from django.test import SimpleTestCase
    from django.test.runner import DiscoverRunner
    from sessions_tests import tests

    from kiokupy.web.django import SessionStore
    from kiokupy.web.django.middleware import SessionMiddleware

    class EngineTests(tests.SessionTestsMixin, SimpleTestCase):
        backend = SessionStore

    class MiddlewareTests(tests.SessionMiddlewareTests):
        # These two look into Django's own table of sessions.
        test_session_update_error_redirect = None
        test_empty_session_saved = None

    tests.SessionMiddleware = SessionMiddleware
    suite = unittest.TestSuite(map(unittest.defaultTestLoader.loadTestsFromTestCase, (EngineTests, MiddlewareTests)))
    runner = DiscoverRunner(verbosity=0)
    runner.setup_test_environment()
    databases = runner.setup_databases()
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    runner.teardown_databases(databases)
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main(*sys.argv[1:])
