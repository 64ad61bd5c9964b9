"""kiokupy's own backends pass the suite that it ships for everyone's."""

import pytest
import servers

from kiokupy.testing import BackendSuite, Capability


class TestHash(BackendSuite):
    @pytest.fixture
    def target(self):
        return "memory://"


class TestFile(BackendSuite):
    capabilities = (Capability.LASTING, Capability.READONLY, Capability.HISTORY)

    @pytest.fixture
    def target(self, tmp_path):
        return {"backend": "File", "path": tmp_path / "store.fs"}


class TestSQLite(BackendSuite):
    capabilities = (Capability.LASTING, Capability.SHARED, Capability.READONLY)

    @pytest.fixture
    def target(self, tmp_path):
        return f"sqlite:///{tmp_path / 'store.sqlite'}"


class TestSQLiteWithHistory(TestSQLite):
    capabilities = (*TestSQLite.capabilities, Capability.HISTORY)

    @pytest.fixture
    def target(self, tmp_path):
        return f"sqlite:///{tmp_path / 'store.sqlite'}?keep_history=1"


class TestPostgreSQL(BackendSuite):
    capabilities = (Capability.LASTING, Capability.SHARED, Capability.READONLY)

    @pytest.fixture
    def target(self):
        with servers.new_postgresql() as url:
            yield url


@pytest.mark.no_cover
class TestPostgreSQLWithHistory(TestPostgreSQL):
    capabilities = (*TestPostgreSQL.capabilities, Capability.HISTORY)

    @pytest.fixture
    def target(self):
        with servers.new_postgresql() as url:
            yield f"{url}?keep_history=1"


class TestZEO(BackendSuite):
    capabilities = (Capability.LASTING, Capability.SHARED, Capability.READONLY, Capability.HISTORY)

    @pytest.fixture
    def target(self):
        with servers.new_zeo() as url:
            yield url
