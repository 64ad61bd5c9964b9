"""Settings of adapters: strings and typed values, and what is said about the wrong ones."""

import dataclasses
import threading
from datetime import timedelta

import graph_classes
import pytest

import kiokupy
from kiokupy import NotStorable, SessionPolicy, SettingsError, StoreNotFound, TargetError
from kiokupy.web.cookies import Cookie
from kiokupy.web.settings import configured, prepared


@pytest.fixture
def configure():
    """Configure, and close what was opened."""
    opened = []

    def configure(settings, **options):
        found = configured(settings, **options)
        opened.append(found.manager)
        return found

    yield configure
    for manager in opened:
        manager.close()


def test_without_settings_there_are_the_defaults(configure):
    manager, cookie = configure({})

    assert (manager.policy, cookie) == (SessionPolicy(), Cookie())


def test_the_target_may_be_a_string_or_a_mapping(configure, tmp_path):
    for number, target in enumerate([f"file:path={tmp_path}/0.fs", {"backend": "File", "path": f"{tmp_path}/1.fs"}]):
        configure({"target": target})

        assert (tmp_path / f"{number}.fs").exists()


@pytest.mark.parametrize("kind", [str, dict])
def test_the_seeds_settings_may_be_strings_or_typed(tmp_path, kind):
    options = {"path": str(tmp_path / "s.fs"), "create": 0}
    text = ";".join(f"{name}={value}" for name, value in options.items())

    with pytest.raises(StoreNotFound):
        configured({"kiokudb_backend": "File", "kiokudb_backend_opts": text if kind is str else options})


def test_strings_and_typed_values_say_the_same(configure):
    strings = {"idle": "60", "absolute": "none", "resolution": "5.5", "cookie_max_age": "60", "cookie_secure": "off"}
    typed = {"idle": 60, "absolute": None, "resolution": 5.5, "cookie_max_age": 60, "cookie_secure": False}
    found = configure(strings)

    assert (found.manager.policy, found.cookie) == (configure(typed)[0].policy, configure(typed).cookie)
    assert found.manager.policy == SessionPolicy(idle=60, absolute=None, resolution=5.5)
    assert found.cookie == Cookie(secure=False, max_age=60)


@pytest.mark.parametrize("nothing", [None, "", "none", " None "])
def test_where_none_is_possible_a_word_and_an_empty_string_mean_it(configure, nothing):
    assert configure({"idle": nothing}).manager.policy.idle is None
    assert configure({"cookie_domain": nothing}).cookie.domain is None


def test_same_site_none_is_a_word_of_its_own(configure):
    assert configure({"cookie_samesite": "None"}).cookie.samesite == "None"


def test_a_time_may_be_a_timedelta(configure):
    manager, cookie = configure({"idle": timedelta(minutes=5), "cookie_max_age": timedelta(hours=1)})

    assert (manager.policy.idle, cookie.max_age) == (300, 3600)


def test_every_field_of_policy_and_cookie_is_a_setting_but_the_clock(configure):
    for owner, prefix in ((SessionPolicy(), ""), (Cookie(), "cookie_")):
        for field in dataclasses.fields(owner):
            if field.name != "clock":
                configure({f"{prefix}{field.name}": getattr(owner, field.name)})

    with pytest.raises(SettingsError, match="there is no setting 'clock'"):
        configured({"clock": "12"})


def test_the_clock_comes_from_code(configure):
    assert configure({}, clock=lambda: 5.0).manager.policy.clock() == 5


@pytest.mark.parametrize("modules", ["graph_classes json", ["graph_classes"], ("json", "graph_classes")])
def test_classes_are_allowed_by_module_and_by_code(configure, modules):
    session = configure({"allow_modules": modules}).manager.create()
    session["a"] = graph_classes.Person("ada")
    session.flush()

    session = configure({}, allow_classes=(graph_classes.Person,)).manager.create()
    session["a"] = graph_classes.Person("ada")
    session.flush()

    session["b"] = configure({}).cookie
    with pytest.raises(NotStorable):
        session.flush()


def test_a_callers_own_names_are_passed_over_and_suggested(configure):
    configure({"key": "x"}, also=["key"])

    with pytest.raises(SettingsError, match="Did you mean 'key'"):
        configured({"kei": "x"}, also=["key"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"taget": "Hash"}, "there is no setting 'taget'. Did you mean 'target'"),
        ({"colour": "red"}, "There are absolute, allow_modules"),
        ({"idle": "soon"}, r"the setting idle is 'soon' \(it is a number, of seconds for a time\)"),
        ({"parallel": "many"}, r"the setting parallel is 'many' \(it is a whole number\)"),
        ({"idle": [1]}, r"the setting idle is \[1\] \(it is a number\)"),
        ({"idle": True}, "the setting idle is True"),
        ({"idle": -1}, "idle is a number of seconds above 0"),
        ({"idle": float("nan")}, "the setting idle is nan"),
        ({"resolution": None}, "the setting resolution is None"),
        ({"cookie_max_age": 1.5}, r"the setting cookie_max_age is 1.5 \(it is a whole number\)"),
        ({"cookie_max_age": float("inf")}, "the setting cookie_max_age is inf"),
        ({"cookie_name": 5}, r"the setting cookie_name is 5 \(it is a string\)"),
        ({"cookie_secure": "perhaps"}, r"the setting cookie_secure is 'perhaps' \(it is true or false\)"),
        ({"cookie_samesite": "Loose"}, "the cookie's samesite is 'Loose'"),
        ({"allow_modules": 5}, r"the setting allow_modules is 5 \(it is a list of names\)"),
        ({"kiokudb_backend": 5}, "the setting kiokudb_backend is 5"),
        ({"kiokudb_backend_opts": 5}, "kiokudb_backend_opts must be a mapping"),
        ({"target": "Hash", "kiokudb_backend": "Hash"}, "target stands beside kiokudb_backend"),
        ({"target": "Hash", "kiokudb_backend_opts": {}}, "target stands beside kiokudb_backend_opts"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_would_be_right(settings, message):
    with pytest.raises(SettingsError, match=message):
        configured(settings)


def test_a_wrong_cookie_opens_no_store(tmp_path):
    with pytest.raises(SettingsError):
        configured({"target": f"file:path={tmp_path}/s.fs", "cookie_path": "here"})

    assert list(tmp_path.iterdir()) == []


def test_malformed_options_are_not_shown():
    with pytest.raises(SettingsError, match="the setting kiokudb_backend_opts is malformed") as caught:
        configured({"kiokudb_backend_opts": '{"password": "hush"'})

    assert "hush" not in str(caught.value)
    assert isinstance(caught.value, kiokupy.TargetError)


def test_expired_sessions_can_be_swept_by_a_thread(configure):
    def sweepers():
        return sum(thread.name == "kiokupy-sweeper" for thread in threading.enumerate())

    before = sweepers()
    manager, _ = configure({"sweep_every": "3600"})
    assert sweepers() == before + 1
    manager.close()

    assert sweepers() == before


@pytest.mark.parametrize("seconds", [0, -1, "never", 1e10, True])
def test_a_time_between_sweeps_is_checked_before_anything_is_opened(tmp_path, seconds):
    with pytest.raises(SettingsError, match="sweep_every"):
        configured({"target": f"file:path={tmp_path}/s.fs", "sweep_every": seconds})

    assert list(tmp_path.iterdir()) == []


def test_settings_can_be_checked_without_opening_the_store(tmp_path):
    ready = prepared({"target": f"file:path={tmp_path}/s.fs", "cookie_secure": False, "idle": 90})
    assert (list(tmp_path.iterdir()), ready.cookie.secure) == ([], False)
    manager = ready.connect()
    manager.close()

    assert ((tmp_path / "s.fs").exists(), manager.policy.idle) == (True, 90)


def test_a_target_is_looked_at_without_opening_the_store():
    with pytest.raises(TargetError, match="sqlit"):
        prepared({"target": "sqlit:///a"})
