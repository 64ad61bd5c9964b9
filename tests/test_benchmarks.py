"""The benchmarks run, at a tiny size, and docs/performance.rst is made from the figures that are there."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import figures, goals, graphs, plots, report, tables
from benchmarks.payloads import LINES, pickled_bytes
from benchmarks.rounds import WORKS
from benchmarks.stores import CONTESTANTS
from benchmarks.works import Works

HOME = Path(__file__).parent.parent
TINY = ["--rounds", "2", "--seconds", "0.002", "--bytes", "1000", "--sessions", "20", "--cold-rounds", "1"]


def bench(out, *arguments, **environment):
    command = [sys.executable, "-m", "benchmarks", *TINY, "--out", str(out), *arguments]
    env = {"PATH": "/usr/bin:/bin", **environment}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=HOME, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((out / "figures.json").read_text())


def test_a_run_writes_figures_of_each_contestant_as_text_json_and_pictures(tmp_path):
    names = ["kiokupy Hash", "kiokupy File", "Django locmem"]

    text, found = bench(tmp_path, "--parts", "sessions", "large", "--only", *names)

    assert {part: content["skipped"] for part, content in found.items() if part.startswith("large")} == {"large 20": {}}
    works = found["sessions 1000"]["works"]
    assert [name for work in WORKS for name in names if len(works[work][name]) != 2] == []
    assert set(found["large 20"]["works"]["sweep, seconds"]) == {"kiokupy File"}
    assert (tmp_path / "figures.txt").read_text() == text
    assert "P1 " in text
    pictures = [path.read_text() for path in tmp_path.glob("*.svg")]
    assert len(pictures) == len(WORKS)
    assert [picture for picture in pictures if not all(name in picture for name in names)] == []


def test_who_cannot_run_is_left_out_by_name(tmp_path):
    postgresql = "postgresql://postgres@127.0.0.1:1/none"

    text, found = bench(
        tmp_path, "--parts", "sessions", "--only", "kiokupy PostgreSQL", "shelve", KIOKUPY_TEST_POSTGRESQL=postgresql
    )

    assert "PostgreSQL does not answer" in found["sessions 1000"]["skipped"]["kiokupy PostgreSQL"]
    assert "kiokupy PostgreSQL: PostgreSQL does not answer" in text
    assert set(found["sessions 1000"]["works"]["create"]) == {"shelve"}


def test_a_run_that_is_ended_ends_what_it_started_and_keeps_what_it_found(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "--parts", "sessions", "--only", "shelve", "--out", str(tmp_path)]
    command += ["--rounds", "1000", "--seconds", "0.002", "--bytes", "1000"]
    with subprocess.Popen(command, cwd=HOME, stderr=subprocess.PIPE, text=True) as process:
        while "round 2" not in process.stderr.readline():
            assert process.poll() is None
        process.terminate()
        process.stderr.read()  # it ends when all have ended that write to it, the worker too

    assert process.returncode == 128 + signal.SIGTERM
    assert figures.load(tmp_path / "figures.json")["sessions 1000"]["works"]["create"]["shelve"]


@pytest.mark.parametrize(
    "name", ["kiokupy Hash", "kiokupy File", "raw append + fsync", "bare MappingStorage", "shelve"]
)
def test_the_verbs_do_what_they_say(tmp_path, name):
    store = CONTESTANTS[name].open(tmp_path / "store")
    id = store.create({"cart": [1]})
    store.change(id, 7)

    assert dict(store.retrieve(id)) == {"cart": [1], "n": 7}
    store.destroy(id)
    with pytest.raises((KeyError, TypeError)):
        dict(store.retrieve(id)["cart"])
    store.close()


def test_no_change_writes_what_is_there_already(tmp_path):
    store = CONTESTANTS["shelve"].open(tmp_path / "store")
    works, written = Works(store, tmp_path / "store", 0.01, 1_000), []
    store.change = lambda _, number: written.append(number)

    for work in (works.create, works.change, lambda: works.change_threads(3), lambda: works.mixed_threads(3)):
        work()

    assert len(written) > 100
    assert len(set(written)) == len(written)
    store.close()


@pytest.mark.parametrize("measured", graphs.CONTESTANTS.values(), ids=graphs.CONTESTANTS)
def test_graphs_are_stored_and_looked_up(measured):
    assert {"store", "look up", "commit after reading"} <= set(measured(3))


def test_payloads_have_about_the_size_that_they_are_called():
    assert [size for size in LINES if not 0.7 * size < pickled_bytes(size) < size] == []


def test_ratios_are_medians_of_ratios_within_a_round():
    part = figures.new_part("made up")
    for ours, theirs in [(2, 1), (30, 10), (4, 1)]:
        figures.add(part, "change", "kiokupy File", ours)
        figures.add(part, "change", "diskcache", theirs)
    found = {"part": part}

    assert figures.ratio(found, "part", ("change", "kiokupy File"), ("change", "diskcache")) == 3
    assert figures.median(found, "part", "change", "diskcache") == 1
    assert figures.ratio(found, "part", ("change", "kiokupy File"), ("change", "nobody")) is None


def test_goals_say_what_is_reached_what_is_not_and_what_was_not_measured():
    part = figures.new_part("made up")
    for name, figure in {"kiokupy File": 13, "redis-py, AOF always": 10, "raw append + fsync": 20}.items():
        figures.add(part, "change", name, figure)
    figures.add(part, "retrieve hot", "kiokupy File", 3)
    figures.add(part, "retrieve hot", "diskcache", 2)
    startup = figures.new_part("made up")
    figures.add(startup, "import, seconds", "kiokupy, beyond ZODB", 0.031)

    verdicts = {goal.number: goals.verdict(goal) for goal in goals.goals({"sessions 1000": part, "startup": startup})}

    assert (verdicts["P1"], verdicts["P3"], verdicts["P13"]) == ("in part", "reached", "not yet")
    assert set(verdicts) == {f"P{number}" for number in range(1, 14)}
    assert list(verdicts.values()).count("not measured") == 10


def test_parts_that_were_not_measured_again_stay(tmp_path):
    path = tmp_path / "figures.json"
    figures.save({"one": figures.new_part("first"), "two": figures.new_part("first")}, path)
    figures.save({"two": figures.new_part("second")}, path)

    assert {part: content["command"] for part, content in figures.load(path).items()} == {
        "one": "first",
        "two": "second",
    }


def test_bars_are_in_order_and_their_names_are_escaped():
    picture = plots.bars("<title>", [plots.Bar("a & b", 1, False, True), plots.Bar("ours", 2, True, True)])

    assert "&lt;title&gt;" in picture
    assert picture.index("ours") < picture.index("a &amp; b")


def test_tables_have_columns_as_wide_as_what_is_in_them():
    assert tables.table(["a", "head"], [["longer", "b"]]).splitlines()[0] == "======  ===="


def test_the_page_is_made_from_the_figures_that_are_there(tmp_path):
    report.publish(figures.load(report.PUBLISHED), tmp_path)
    made, there = (
        {str(path.relative_to(folder)): path.read_text() for path in folder.glob("performance*/*.svg")}
        | {"performance.rst": (folder / "performance.rst").read_text()}
        for folder in (tmp_path, report.DOCS)
    )

    assert made == there, "docs/performance.rst is not made from benchmarks/figures.json: scripts/bench --redraw"
