"""The benchmarks run, at a tiny size, and docs/performance.rst is made from the figures that are there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import beside, bounds, figures, goals, graphs, growth, large, plots, report, tables, timing, weights
from benchmarks.payloads import LINES, pickled_bytes
from benchmarks.rounds import LATENCY, TERMS, TIMED, WORKS
from benchmarks.stores import CONTESTANTS
from benchmarks.works import Works

HOME = Path(__file__).parent.parent
TINY = ["--rounds", "2", "--seconds", "0.002", "--bytes", "1000", "--sessions", "20", "--cold-rounds", "1"]
TINY += ["--changed", "10", "--changes", "100", "--reads", "20"]


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
    waits = [[works[LATENCY.format(work, term)][name] for term in TERMS] for work in TIMED for name in names]
    assert [wait for wait in waits if sorted(wait) != wait] == []
    assert set(found["large 20"]["works"]) == set(large.ORDER)
    assert set(found["large 20"]["works"]["sweep, seconds"]) == {"kiokupy File"}
    assert (tmp_path / "figures.txt").read_text() == text
    assert "P1 " in text
    pictures = [path.read_text() for path in tmp_path.glob("*.svg")]
    assert len(pictures) == len(WORKS)
    assert [picture for picture in pictures if not all(name in picture for name in names)] == []


def test_a_store_grows_and_is_packed_beside_other_work_and_is_weighed(tmp_path):
    text, found = bench(tmp_path, "--parts", "growth", "bounds", "memory", "--only", "kiokupy File")

    grown = {work: figure for work, named in found["growth"]["works"].items() for figure in named["kiokupy File"]}
    assert set(growth.ORDER) <= set(grown)
    assert grown["MB, filled"] < grown["MB, then"] > grown["MB, packed"]
    assert set(found["bounds"]["works"]) == set(bounds.ORDER)
    [weight] = found["memory"]["works"][weights.DISK]["kiokupy File"]
    assert 700 < weight < 7_000
    assert "kiokupy File" in found["memory"]["works"][weights.MEMORY]
    assert "changes, longest, ms, while packing" in text


def test_kiokudb_in_perl_keeps_sessions_or_is_left_out_by_name(tmp_path):
    names = ["KiokuDB in Perl, Hash", "KiokuDB in Perl, SQLite"]
    paths = {name: value for name, value in os.environ.items() if name == "PERL5LIB"}

    _, found = bench(tmp_path, "--parts", "sessions", "--only", *names, **paths)

    part = found["sessions 1000"]
    assert set(part["works"].get("change", {})) | set(part["skipped"]) == set(names)
    assert [
        reason for reason in part["skipped"].values() if "Perl" not in reason and "Can't locate" not in reason
    ] == []
    assert {name for works in part["works"].values() for name in works}.isdisjoint(part["skipped"])
    assert part["works"].keys().isdisjoint({"change, 8 threads"})


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
    assert not store.misses(id)
    assert store.misses(id[::-1])
    store.destroy(id)
    assert store.misses(id)
    with pytest.raises((KeyError, TypeError)):
        dict(store.retrieve(id)["cart"])
    store.close()


def test_no_change_writes_what_is_there_already(tmp_path):
    store = CONTESTANTS["shelve"].open(tmp_path / "store")
    works, written = Works(lambda: store, tmp_path / "store", 0.01, 1_000), []
    store.change = lambda _, number: written.append(number)

    for work in (works.create, works.change, lambda: works.change_threads(3), lambda: works.mixed_threads(3)):
        work()

    assert len(written) > 100
    assert len(set(written)) == len(written)
    store.close()


def test_a_store_is_packed_once_while_both_steps_go_on(tmp_path):
    store, calls = CONTESTANTS["bare FileStorage"].open(tmp_path / "store"), []
    [id] = store.fill(1, {"cart": [1]})
    pack, store.pack = store.pack, lambda: calls.append(pack())
    steps = {"reads": lambda _: store.retrieve(id), "changes": lambda number: store.change(id, number)}

    found = beside.pack_beside(store, steps, 0.05)

    assert calls == [None]
    assert found["pack, seconds"] > 0
    assert [figure for figure in found if found[figure] == 0 and "longest" in figure] == []
    assert {f"{name} a second, {when}" for name in steps for when in ("before", "while packing")} < set(found)
    store.close()


def test_a_pause_counts_for_the_window_that_it_reaches_into():
    done = [0.0, 1.0, 2.0, 6.0, 7.0]

    assert (beside.rate(done, 0, 4), beside.longest(done, 0, 4)) == (0.5, 4)
    assert (beside.rate(done, 6, 8), beside.longest(done, 6, 8)) == (0.5, 1)


def test_what_goes_wrong_beside_packing_is_told(tmp_path):
    store = CONTESTANTS["bare FileStorage"].open(tmp_path / "store")

    with pytest.raises(ZeroDivisionError):
        beside.pack_beside(store, {"reads": lambda _: 1 / 0}, 0.01)
    with pytest.raises(NotImplementedError):
        beside.pack_beside(CONTESTANTS["shelve"].open(tmp_path / "shelf"), {"reads": lambda _: None}, 0.01)
    store.close()


def test_a_store_is_opened_again_with_its_index_and_without(tmp_path):
    folder, looked = tmp_path / "store", []

    def open_store():
        looked.append((folder / "store.fs.index").exists())
        return CONTESTANTS["bare FileStorage"].open(folder)

    works = Works(open_store, folder, 0.01, 1_000)
    works.fill(count=5)

    assert works.reopen(is_indexed=True) > 0
    assert works.reopen(is_indexed=False) > 0
    assert looked == [False, True, False]
    works.close()
    shelf = Works(lambda: CONTESTANTS["shelve"].open(tmp_path / "shelf"), tmp_path / "shelf", 0.01, 1_000)
    shelf.fill(count=5)
    with pytest.raises(NotImplementedError):
        shelf.reopen(is_indexed=False)
    shelf.close()


def test_each_session_is_read_once_by_threads_that_share_them(tmp_path):
    store, read = CONTESTANTS["shelve"].open(tmp_path / "store"), []
    works = Works(lambda: store, tmp_path / "store", 0.01, 1_000)
    works.fill(count=20)
    store.retrieve = read.append

    works.read(count=16, threads=8)

    assert len(read) == len(set(read)) == 16
    store.close()


def test_percentiles_are_of_all_operations():
    found = timing.summary(number / 1000 for number in range(200, 0, -1))

    assert found == {"p50": 101, "p99": 199, "longest": 200}


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
    assert figures.ratio(found, "part", ("change", "diskcache"), ("change", "diskcache"), beside="other") is None


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


def test_what_a_session_costs_among_many_is_told_round_by_round():
    few, many = figures.new_part("made up"), figures.new_part("made up")
    for work in large.USES:
        for before, after in [(100, 80), (300, 100), (100, 90)]:
            figures.add(few, work, "kiokupy File", before)
            figures.add(many, work, "kiokupy File", after)

    [goal] = [goal for goal in goals.goals({"large 10000": few, "large 1000000": many}) if goal.number == "P10"]

    assert {reached.value for reached in goal.reached} == {1.25}
    assert goals.verdict(goal) == "reached"


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


def test_each_table_says_how_and_when_it_was_measured():
    part = figures.new_part("scripts/bench --parts growth")
    figures.add(part, "MB, filled", "diskcache", 3)

    document = report.document({"growth": part})

    assert f"Measured {part['taken']} on {part['machine']}, with ``scripts/bench --parts growth``:" in document
    assert document.count("Not measured.") == 10


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
