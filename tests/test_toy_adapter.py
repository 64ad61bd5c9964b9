"""A web adapter from another hand passes the suite, and each of its versions with a fault does not."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import servers

from kiokupy.testing import Site
from kiokupy.testing.adapters import site

TOY = Path(__file__).parent / "toy_adapter"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Run the toy's tests in a process of their own; return the outcomes by class and test, one for each parameter."""
    report = tmp_path_factory.mktemp("toy") / "report.xml"
    path = os.pathsep.join(filter(None, [str(TOY), os.environ.get("PYTHONPATH")]))
    options = ["-W", "error", "-p", "no:cacheprovider", "--tb=no", f"--junitxml={report}"]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_toy.py"],
        cwd=TOY,
        env={**servers.unmeasured(), "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        check=False,
    )
    found = {}
    for case in ET.parse(report).iter("testcase"):
        outcome = {child.tag for child in case} & {"failure", "error", "skipped"} or {"passed"}
        test = case.get("name").partition("[")[0]
        found.setdefault(case.get("classname").rpartition(".")[2], {}).setdefault(test, set()).update(outcome)
    return found


def test_the_toy_passes(outcomes):
    skipped = [test for test, found in outcomes["TestToy"].items() if found == {"skipped"}]

    assert set.union(*outcomes["TestToy"].values()) == {"passed", "skipped"}
    assert skipped == ["test_the_session_of_a_streamed_answer_is_saved_before_it_begins"]


def test_each_fault_is_found_by_the_tests_that_look_for_it(outcomes):
    faulty = {name: found for name, found in outcomes.items() if name != "TestToy"}
    missed = [f"{name}: {test}" for name, found in faulty.items() for test, seen in found.items() if seen <= {"passed"}]

    assert len(faulty) == 20
    assert missed == []


def test_a_capability_that_there_is_not_is_refused():
    script = "from kiokupy.testing import AdapterSuite\nclass Bad(AdapterSuite):\n    capabilities = ['quick']"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert "there is no capability 'quick'. There are: lazy, merging, partitioned, streaming" in done.stderr


def test_a_page_that_the_site_has_not_is_not_found():
    answer = Site().answer({}, "/no-such-page")

    assert answer.status_line == "404 Not Found"


def test_a_request_does_not_wait_for_ever_at_the_gate(monkeypatch):
    monkeypatch.setattr(site, "_PATIENCE", 0.01)

    with pytest.raises(TimeoutError):
        Site().answer({}, "/slow", "key=a&value=1")
