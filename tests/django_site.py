"""A Django project for the tests, in one file. As a script it is served: django_site.py prepare|wsgi|asgi PORT TARGET DATABASE."""

import sys
import threading
from pathlib import Path

import django
from django.conf import settings
from django.http import Http404, HttpResponse

TEMPLATES = {
    "registration/login.html": "<form method=post>{% csrf_token %}{{ form.errors }}</form>",
    "registration/password_change_form.html": "<form method=post>{% csrf_token %}{{ form.errors }}</form>",
    "registration/password_change_done.html": "changed",
}

begun, gate = threading.Event(), threading.Event()


def configure_once():
    """Set Django up for tests in memory, whichever module of them comes first."""
    if not settings.configured:
        configure({"target": "Hash"}, ":memory:")


def configure(target, database, **more):
    """Set Django up; once in a process."""
    settings.configure(
        SECRET_KEY="only for tests, and long enough for Django's own checks to be content with it",
        DEBUG=False,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
        ],
        MIDDLEWARE=[
            "kiokupy.web.django.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "loaders": [
                        ("django.template.loaders.locmem.Loader", TEMPLATES),
                        "django.template.loaders.app_directories.Loader",
                    ],
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ],
                },
            }
        ],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        LOGIN_REDIRECT_URL="/",
        CSRF_USE_SESSIONS=True,
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
        LOGGING_CONFIG=None,
        USE_TZ=True,
        SESSION_ENGINE="kiokupy.web.django",
        SESSION_KIOKUPY=target,
        **more,
    )
    django.setup()


def text(*words):
    return HttpResponse(" ".join(map(str, words)), content_type="text/plain")


def home(request):
    return text(request.user.get_username() or "nobody", *sorted(request.session.keys()))


def static(request):
    return text("static")


def peek(request):
    return text(request.session.get("visits"))


def count(request):
    visits = request.session.setdefault("visits", {"here": [0]})
    visits["here"][0] += 1
    return text(visits["here"][0])


def say(request):
    from django.contrib import messages

    messages.info(request, "hello")
    return text("said")


def hear(request):
    from django.contrib import messages

    return text(*[f"{message.level_tag}:{message}" for message in messages.get_messages(request)])


def fail(request):
    request.session["lost"] = True
    raise RuntimeError("as asked")


def put(request):
    request.session[request.META["QUERY_STRING"]] = True
    return text("put")


def slow(request):
    request.session["slow"] = True
    begun.set()
    gate.wait(30)
    return text("slow")


def wait_for_slow(request):
    return text(begun.wait(30))


def quick_logout(request):
    from django.contrib.auth import logout

    logout(request)
    return text("out")


def open_gate(request):
    gate.set()
    return text("open")


def note(request):
    """Store an object in the session's scope, and answer with how many there are."""
    scope = request.session.scope
    found = scope.get("notes") if scope.exists("notes") else None
    if request.GET.get("text"):
        if found is None:
            scope.store([request.GET["text"]], id="notes")
        else:
            found.append(request.GET["text"])
    if "touch" in request.GET:
        request.session["noted"] = request.GET["touch"]
    if "fail" in request.GET:
        raise RuntimeError("as asked")
    if "missing" in request.GET:
        raise Http404
    status = int(request.GET.get("status", 200))
    answer = text(*(scope.get("notes") if scope.exists("notes") else ()))
    answer.status_code = status
    return answer


async def acount(request):
    visits = await request.session.asetdefault("visits", {"here": [0]})
    visits["here"][0] += 1
    return text(visits["here"][0])


async def alogin(request):
    from django.contrib.auth import aauthenticate, alogin

    user = await aauthenticate(request, username=request.GET["name"], password="secret")
    await alogin(request, user)
    return text(request.session.session_key is not None, await request.session.aexists(request.session.session_key))


async def alogout(request):
    from django.contrib.auth import alogout

    await alogout(request)
    return text("out")


def urls():
    from django.contrib import admin
    from django.contrib.auth import views
    from django.urls import path

    return [
        path("", home),
        path("static", static),
        path("peek", peek),
        path("count", count),
        path("say", say),
        path("hear", hear),
        path("fail", fail),
        path("put", put),
        path("slow", slow),
        path("wait-for-slow", wait_for_slow),
        path("quick-logout", quick_logout),
        path("open-gate", open_gate),
        path("note", note),
        path("acount", acount),
        path("alogin", alogin),
        path("alogout", alogout),
        path("login", views.LoginView.as_view()),
        path("logout", views.LogoutView.as_view(next_page="/")),
        path("password", views.PasswordChangeView.as_view(success_url="/")),
        path("admin/", admin.site.urls),
    ]


def __getattr__(name):  # the views can be imported before Django is set up, its URLs cannot
    if name == "urlpatterns":
        globals()[name] = urls()
        return globals()[name]
    raise AttributeError(name)


def prepare_database():
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    for name in ("alice", "bob"):
        get_user_model().objects.create_superuser(name, password="secret")


def main(gateway, port, target, database, *flags):
    configure({"target": target, **dict.fromkeys(flags, True)}, Path(database))
    if gateway == "prepare":
        prepare_database()
    elif gateway == "wsgi":
        import waitress
        from django.core.wsgi import get_wsgi_application

        waitress.serve(get_wsgi_application(), host="127.0.0.1", port=int(port), threads=8, _quiet=True)
    else:
        import uvicorn
        from django.core.asgi import get_asgi_application

        uvicorn.run(get_asgi_application(), host="127.0.0.1", port=int(port), log_level="error", lifespan="off")


if __name__ == "__main__":
    main(*sys.argv[1:])
