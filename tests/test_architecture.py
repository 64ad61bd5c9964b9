"""The house: layers, names, sizes. Drawn from the code's own imports."""

import ast
from pathlib import Path

import pytest

import kiokupy

PACKAGE = Path(kiokupy.__file__).parent

#: A module imports from the lines above its own, and from its own line. A name that ends in a dot means all below it.
LAYERS = [
    ["errors.root"],
    ["errors.stores", "errors.objects"],
    ["errors"],
    ["ids", "moments", "rules", "entry", "orderable", "conditions", "suggestion"],
    ["holder", "collections", "collections.", "fields", "broken", "standard", "typemap"],
    ["ghosts", "paths", "weak", "refusal", "reduction", "parts", "collapse", "evolution", "expand"],
    ["departed", "inert", "pickles", "backends", "backends."],
    [
        "indexes",
        "indexing",
        "drafts",
        "translation",
        "graph",
        "resolving",
        "connection",
        "writers",
        "readers",
        "lastword",
        "database",
        "lanes",
        "turns",
        "reads",
        "commits",
        "identity",
    ],
    [
        "raw",
        "links",
        "inspection",
        "forms",
        "forms.",
        "history",
        "upkeep",
        "queries",
        "loading",
        "live",
        "changes",
        "walks",
        "membership",
        "savepoints",
        "lookups",
        "companions",
        "scope",
        "joined",
    ],
    ["directory", "opening"],
    ["maintenance", "maintenance.", "sessions", "sessions."],
    ["web", "web.", "cli", "cli.", "testing", "testing."],
    [""],
]
FORBIDDEN = {"utils", "util", "helpers", "common", "base", "misc", "core"}
LONGEST_FILE, LONGEST_BODY = 300, 40


def modules(package):
    """Return the modules of a package by their name in it; the root's is empty."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


def imports(name, tree, package, known):
    """Yield the modules of the package that a module imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner.removeprefix(f"{package}.") in known else node.module


def arrows(package):
    """Return which module of a package imports which."""
    known, prefix = modules(package), f"{package.name}."
    return {
        name: {
            target.removeprefix(prefix) if target != package.name else ""
            for target in imports(name, tree, package.name, known)
            if target == package.name or target.startswith(prefix)
        }
        for name, tree in known.items()
    }


def layer_of(name):
    for number, layer in enumerate(LAYERS):
        if name in layer or any(entry.endswith(".") and name.startswith(entry) for entry in layer):
            return number
    raise AssertionError(f"add the module {name!r} to the table of layers")


def violations(package):
    """Return what is wrong with the arrows between a package's modules, in words."""
    drawn = arrows(package)
    found = [f"{name} imports the package root" for name, targets in drawn.items() if "" in targets]
    for name, targets in drawn.items():
        found += [f"{name} imports {t}, from a lower line" for t in targets - {""} if layer_of(t) > layer_of(name)]
    done, path = set(), []

    def walk(name):
        if name in path:
            found.append("a cycle: " + " -> ".join([*path[path.index(name) :], name]))
        elif name not in done:
            path.append(name)
            for target in sorted(drawn.get(name, ()) - {""}):
                walk(target)
            path.pop()
            done.add(name)

    for name in drawn:
        walk(name)
    return found


def functions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_arrow_goes_up_and_there_is_no_cycle():
    assert violations(PACKAGE) == []


def test_the_table_of_layers_names_only_what_is_there():
    there = modules(PACKAGE)

    assert [name for layer in LAYERS for name in layer if name.removesuffix(".") not in there] == []


def test_each_kind_of_wrong_arrow_is_found(tmp_path):
    package = tmp_path / "made_up"
    (package / "web").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "errors": "from made_up import scope",
        "scope": "from made_up.live import x",
        "live": "def f():\n    import made_up.scope",
        "web/__init__": "",
        "web/wsgi": "import made_up\nimport os\nfrom made_up.errors import y",
    }.items():
        (package / f"{name}.py").write_text(text)

    assert sorted(violations(package)) == [
        "a cycle: scope -> live -> scope",
        "errors imports scope, from a lower line",
        "web.wsgi imports the package root",
    ]
    (package / "stray.py").write_text("")
    (package / "scope.py").write_text("import made_up.stray")
    with pytest.raises(AssertionError, match="add the module 'stray'"):
        violations(package)


def test_no_module_is_named_after_nothing():
    assert FORBIDDEN.isdisjoint(part for name in modules(PACKAGE) for part in name.split("."))


def test_files_and_functions_keep_their_size():
    long_files = [str(p) for p in PACKAGE.rglob("*.py") if p.read_text().count("\n") > LONGEST_FILE]
    long_bodies = []
    for name, tree in modules(PACKAGE).items():
        for node in functions(tree):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            if body and body[-1].end_lineno - body[0].lineno + 1 > LONGEST_BODY:
                long_bodies.append(f"{name}.{node.name}")

    assert (long_files, long_bodies) == ([], [])


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()


def test_scripts_can_be_run():
    scripts = [*(PACKAGE.parent / "scripts").iterdir(), PACKAGE.parent / ".ci" / "run"]

    assert [script.name for script in scripts if not script.stat().st_mode & 0o111] == []
