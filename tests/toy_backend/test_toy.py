import pytest

from kiokupy.testing import BackendSuite, Capability


class TestToy(BackendSuite):
    capabilities = (Capability.LASTING, Capability.READONLY)

    @pytest.fixture
    def target(self, tmp_path):
        return {"backend": "Toy", "path": tmp_path / "store.json"}
