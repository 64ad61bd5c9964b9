"""The same calls give the same answers in Beaker and under its names here."""

import beaker.middleware
import pytest

from kiokupy.web.beaker import SessionMiddleware

BEAKER = {"session.type": "memory", "session.key": "sid"}


def put(session):
    session["n"] = 1
    session.save()


def change(session):
    session["n"] = 99


def look(session):
    return {key: session[key] for key in session if not key.startswith("_")}


def is_new(session):
    return session.is_new, session.last_accessed is None, type(session.created)


def has_stamps(session):
    return [type(session[key]) for key in ("_creation_time", "_accessed_time")], session.has_key("n")


def regenerate(session):
    session.regenerate_id()
    session.save()
    return look(session)


def invalidate(session):
    session.invalidate()
    session["m"] = 2
    session.save()
    return look(session), session.is_new


def delete(session):
    session.delete()
    return look(session)


def revert(session):
    session["x"] = 1
    session.revert()
    return look(session)


def revert_and_save(session):
    revert(session)
    session["y"] = 2
    session.save()


def persist(session):
    session["p"] = 1
    session.save()
    session.persist()
    return session.get_by_id(session.id)["p"]


def keep(session):
    session.get("n")
    session.save()
    return session.is_new, session.dirty()


def save_blindly(session):
    session.save()
    return session.accessed()


def accessed(session):
    return session.accessed(), session.dirty()


def answers(middleware_class, config, views):
    """Call views in one request after another; return what each returned, and whether the client has a cookie then."""
    found, cookies = [], {}

    def app(environ, start_response):
        found.append(environ["view"](environ["beaker.session"]))
        start_response("200 OK", [])
        return [b""]

    middleware = middleware_class(app, config)
    for view in views:
        sent = []
        cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
        environ = {"view": view, "REQUEST_METHOD": "GET", "HTTP_COOKIE": cookie}
        b"".join(middleware(environ, lambda status, headers, exc_info=None, sent=sent: sent.extend(headers)))
        for header in (value for name, value in sent if name.lower() == "set-cookie"):
            name, _, value = header.partition(";")[0].partition("=")
            dropped = "expires=" in header.replace("Expires=", "expires=")
            cookies = {} if dropped else {name: value}
        found[-1] = found[-1], bool(cookies)
    return found


@pytest.mark.parametrize("auto", [False, True])
@pytest.mark.parametrize(
    "views",
    [
        [put, look, change, look], [put, regenerate, look], [put, invalidate, look], [put, delete], [put, revert, look],
        [put, revert_and_save, look], [put, is_new, has_stamps], [persist, look], [keep, is_new], [accessed, put, accessed],
        [save_blindly],
    ],
    ids=lambda views: "-".join(view.__name__ for view in views),
)  # fmt: skip
def test_the_same_calls_give_the_same_answers(views, auto):
    config = {**BEAKER, "session.auto": auto}
    ours = answers(SessionMiddleware, {**config, "session.secure": False}, views)

    assert ours == answers(beaker.middleware.SessionMiddleware, config, views)


def test_a_session_that_stays_empty_is_stored_by_beaker_only():
    config = {**BEAKER, "session.auto": True}

    assert answers(beaker.middleware.SessionMiddleware, config, [is_new])[-1][1]
    assert not answers(SessionMiddleware, {**config, "session.secure": False}, [is_new])[-1][1]


@pytest.mark.parametrize("ending", ["regenerate_id", "invalidate"])
def test_an_old_id_keeps_its_data_in_beaker_only(ending):
    ids = []

    def note(session):
        put(session)
        ids.append(session.id)

    def end(session):
        getattr(session, ending)()
        session.save()

    def find(session):
        found = session.get_by_id(ids.pop())
        return found and found["n"]

    assert answers(beaker.middleware.SessionMiddleware, BEAKER, [note, end, find])[-1][0] == 1
    assert answers(SessionMiddleware, {**BEAKER, "session.secure": False}, [note, end, find])[-1][0] is None
