"""A Flask application for the HTTP tests, served by waitress in a process of its own: flask_app.py PORT TARGET."""

import sys
import threading
from types import SimpleNamespace

import waitress
from flask import Blueprint, Flask, redirect, request, session, stream_with_context
from flask_login import LoginManager, current_user, login_user, logout_user

from kiokupy.web.flask import KiokuSessions

gate = threading.Event()
pages = Blueprint("pages", __name__)


def user_of(name):
    return SimpleNamespace(is_authenticated=True, is_active=True, is_anonymous=False, get_id=lambda: name, name=name)


@pages.get("/count")
def count():
    session["n"] = session.get("n", 0) + 1
    return str(session["n"])


@pages.get("/")
def show():
    return f"{session.get('n')} {getattr(current_user, 'name', None)} {session.principal}"


@pages.get("/static-page")
def static_page():
    return "the same for all"


@pages.get("/login")
def login():
    login_user(user_of(request.args["name"]), remember="remember" in request.args)
    return redirect("/")


@pages.get("/fresh")
def fresh():
    return f"{current_user.name} {session.is_fresh()}"


@pages.get("/logout")
def logout():
    logout_user()
    session.clear()
    return redirect("/")


@pages.get("/slow")
def slow():
    session["slow"] = True
    gate.wait(30)
    return "done"


@pages.get("/open-gate")
def open_gate():
    gate.set()
    return "open"


@pages.get("/fail")
def fail():
    session["n"] = -1
    raise RuntimeError("as asked")


@pages.get("/stream")
def stream():
    def lines():
        for number in range(3):
            yield f"{session.get('n')}.{number} "
        session["streamed"] = True

    return stream_with_context(lines())


@pages.get("/streamed")
def streamed():
    return str(session.get("streamed"))


@pages.get("/async")
async def answer_soon():
    session["async"] = session.get("async", 0) + 1
    return str(session["async"])


def create_app(**config):
    app = Flask(__name__)
    app.config.from_mapping(config)
    app.register_blueprint(pages)
    KiokuSessions(app)
    LoginManager(app).user_loader(user_of)
    return app


def main(port, target):
    # Flask-Login looks at the session after each request.
    settings = {"target": target, "cookie_secure": False, "exclude": ["/static-page"]}
    app = create_app(SECRET_KEY="for Flask-Login", SESSION_KIOKUPY=settings)
    waitress.serve(app, host="127.0.0.1", port=int(port), threads=8, _quiet=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
