"""What connect() understands as a target."""

import json
import sys
from pathlib import Path

import pytest

import kiokupy
from kiokupy import backends
from kiokupy.backends import dsn
from kiokupy.errors import BackendMissing, TargetError, UnknownBackend

SQLITE, PG = {"driver": "sqlite"}, {"driver": "postgresql"}


@pytest.mark.parametrize(
    ("target", "name", "options"),
    [
        ("Hash", "Hash", {}),
        ("hash", "Hash", {}),
        ("hash:", "Hash", {}),
        ("memory://", "Hash", {}),
        ("File", "File", {}),
        ("file:path=app.fs;create=0", "File", {"path": "app.fs", "create": "0"}),
        ("file:path=app.fs; readonly ;", "File", {"path": "app.fs", "readonly": True}),
        ("file:///srv/my%20app.fs?readonly=1", "File", {"path": "/srv/my app.fs", "readonly": "1"}),
        ("file://localhost/srv/app.fs", "File", {"path": "/srv/app.fs"}),
        ("dbi:SQLite:dbname=my.sqlite", "DBI", {**SQLITE, "dbname": "my.sqlite"}),
        ("dbi:SQLite:my.sqlite", "DBI", {**SQLITE, "dbname": "my.sqlite"}),
        ("dbi:SQLite:database=my.sqlite;synchronous=OFF", "DBI", {**SQLITE, "dbname": "my.sqlite", "synchronous": "OFF"}),
        ("sqlite:///my.sqlite", "DBI", {**SQLITE, "dbname": "my.sqlite"}),
        ("sqlite:////srv/my.sqlite", "DBI", {**SQLITE, "dbname": "/srv/my.sqlite"}),
        ("dbi:Pg:dbname=app;host=h;port=5433", "DBI", {**PG, "dbname": "app", "host": "h", "port": "5433"}),
        ("dbi:Pg:db=app;user=me;password=p=1", "DBI", {**PG, "dbname": "app", "user": "me", "password": "p=1"}),
        ("postgresql:///app", "DBI", {**PG, "dbname": "app"}),
        ("postgres://host/app", "DBI", {**PG, "dbname": "app", "host": "host"}),
        (
            "postgresql://m%40e:p%2Fw%3A@[::1]:5433/my%20app?sslmode=disable&keep_history=1",
            "DBI",
            {
                **PG, "user": "m@e", "password": "p/w:", "host": "::1", "port": "5433", "dbname": "my app",
                "sslmode": "disable", "keep_history": "1",
            },
        ),
        ("zeo://host", "ZEO", {"host": "host"}),
        ("zeo://host:8100/main", "ZEO", {"host": "host", "port": 8100, "storage": "main"}),
        ("zeo:///run/zeo.sock", "ZEO", {"path": "/run/zeo.sock"}),
        ("zeo:host=h;port=1", "ZEO", {"host": "h", "port": "1"}),
        ({"backend": "File", "path": "a.fs"}, "File", {"path": "a.fs"}),
        ({"target": "file:path=a.fs", "readonly": True}, "File", {"path": "a.fs", "readonly": True}),
    ],
)  # fmt: skip
def test_a_target_of_each_form_names_a_backend_and_its_options(target, name, options):
    assert dsn.parse(target) == (name, options)


@pytest.mark.parametrize("target", [None, 5, "", "  ", b"Hash", ["Hash"]])
def test_what_is_no_target_is_refused_with_the_known_forms(target):
    with pytest.raises(TargetError, match="Give a backend's name, a DSN"):
        kiokupy.connect(target)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mongodb://host/db", "no URL scheme 'mongodb'.*There are memory://, file://, sqlite://"),
        ("postgresql://user:secret@[::1/db", "the postgresql:// URL is malformed"),
        ("postgresql://user:secret@host:port/db", "the postgresql:// URL is malformed"),
        ("file://host/app.fs", "a file's URL has no host"),
        ("sqlite://app.sqlite", "write three slashes"),
        ("dbi:mysql:dbname=x;password=secret", "MariaDB does not understand"),
        ("dbi:Oracle:dbname=x", "'DBI' cannot use 'Oracle'"),
        ("dbi:SQLite:", "SQLite needs the option dbname"),
        ("dbi:SQLite:dbname=x;not a pragma=1", "no pragma"),
        ("dbi:Pg:dbname=x;colour=red;password=secret", "does not take these options.*colour"),
        ("dbi:Pg:dbname=x;cache_local_mb=much", "cache_local_mb is 'much'"),
        ("dbi:Pg:dbname=x;keep_history=perhaps", "keep_history is 'perhaps'"),
        ("dbi:Pg:dbname=x;pack_gc=perhaps", "pack_gc is 'perhaps'"),
        ("DBI", "a database without a name"),
        ("File", "needs the option path"),
        ("file:paht=x", "does not take these options: paht. Did you mean 'path'?"),
        ("hash:paht=x", "does not take these options: paht. It takes create, readonly"),
        ("sqlit:///x", "Did you mean sqlite://?"),
        ("file:path=x;create=perhaps", "create is 'perhaps'.*1 or 0"),
        ("zeo://host?wait_timeout=soon", "wait_timeout is 'soon'"),
        ("shop/app.fs", "is a path.*connect\\('File', path='shop/app.fs'\\)"),
        ({"path": "x"}, "names its store by 'backend' or by 'target'"),
        ({"backend": "File", "target": "file:path=x"}, "names its store by 'backend' or by 'target'"),
        ({"backend": "DBI", "dsn": "file:path=x"}, "names another backend"),
        ("nowhere/store.toml", "cannot be read"),
    ],
)
def test_a_malformed_target_is_refused_with_a_reason_and_without_its_password(target, message):
    with pytest.raises(TargetError, match=message) as caught:
        kiokupy.connect(target)

    assert "secret" not in str(caught.value)


def test_an_unknown_backend_error_lists_the_known_ones_and_the_near_misses():
    with pytest.raises(UnknownBackend) as caught:
        kiokupy.connect("HASH")

    assert str(caught.value) == (
        "there is no backend 'HASH'. Did you mean 'Hash'? Installed backends: DBI, File, Hash, ZEO"
    )


def test_an_unknown_backend_that_is_like_none_has_no_near_miss():
    with pytest.raises(UnknownBackend) as caught:
        kiokupy.connect("KiokuDB::Backend::Cool")

    assert caught.value.near == []


def test_options_given_beside_the_target_count_more_than_those_in_it():
    resolved = backends.resolve("file:path=a.fs;create=0;readonly=1", path="b.fs", create=True)

    assert resolved == backends.Resolved("File", {"path": "b.fs"}, create=True, readonly=True)


def test_the_dsn_option_of_the_seed_is_taken_apart():
    resolved = backends.resolve("DBI", dsn="dbi:SQLite:dbname=a;synchronous=OFF", synchronous="NORMAL")

    assert resolved.options == {"driver": "sqlite", "dbname": "a", "synchronous": "NORMAL"}


def test_settings_files_hold_a_mapping(tmp_path):
    toml, yaml = tmp_path / "store.toml", tmp_path / "store.yaml"
    toml.write_text('backend = "File"\npath = "a.fs"\n')
    yaml.write_text(json.dumps({"backend": "File", "path": "a.fs"}))

    assert dsn.parse(str(toml)) == dsn.parse(yaml) == ("File", {"path": "a.fs"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "backend =", "is malformed"),
        ("a.yaml", "a: [", "is malformed"),
        ("a.yml", "- Hash", "holds no mapping"),
        ("a.txt", "Hash", "is no settings file"),
    ],
)
def test_a_malformed_settings_file_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)

    with pytest.raises(TargetError, match=message):
        dsn.parse(tmp_path / name)


def test_a_yaml_file_without_pyyaml_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    (tmp_path / "a.yaml").write_text("backend: Hash")

    with pytest.raises(TargetError, match=r"pip install 'kiokupy\[yaml\]'"):
        dsn.parse(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("name", "module", "package", "extra"),
    [
        ("DBI", "kiokupy.backends.dbi", "relstorage.options", "kiokupy[dbi]"),
        ("ZEO", "kiokupy.backends.zeo", "ZEO.ClientStorage", "kiokupy[zeo]"),
    ],
)
def test_a_backend_whose_packages_are_missing_says_what_to_install(monkeypatch, name, module, package, extra):
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(BackendMissing) as caught:
        backends.load(name)

    assert caught.value.install == extra


def test_a_registered_backend_is_found_by_its_name(monkeypatch):
    monkeypatch.setattr(backends, "_registered", {})

    class Again(backends.load("Hash")):
        pass

    backends.register("Again", Again)

    assert "Again" in backends.names()
    with kiokupy.connect("Again") as directory:
        assert directory.location == "memory"
    with pytest.raises(TargetError, match="there is a backend 'Again' already"):
        backends.register("Again", Again)


def test_built_in_backends_keep_the_protocol():
    built = [
        backends.resolve(t).backend() for t in ("Hash", "file:path=x", "sqlite:///x", "zeo://h", "dbi:Pg:dbname=x")
    ]

    assert all(isinstance(backend, backends.Backend) for backend in built)
    assert [backend.location for backend in built] == ["memory", "x", "sqlite:x", "zeo://h:8100/1", "postgresql:///x"]


@pytest.mark.parametrize("classes", [Path, "shop.models"])
def test_allow_classes_that_is_no_list_is_refused(classes):
    with pytest.raises(TargetError, match="allow_classes is a list"):
        kiokupy.connect("Hash", allow_classes=classes)
