"""Flask's command line: ``flask kiokupy list``, ``stats``, ``sweep``, ``revoke`` and ``end``."""

from __future__ import annotations

from contextlib import closing
from typing import Any, cast

import click
import flask
from flask.cli import AppGroup

from kiokupy.errors import KiokuError
from kiokupy.sessions.manager import SessionManager


class _Group(AppGroup):
    """Says what is wrong with the store in a line, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except KiokuError as error:
            raise click.ClickException(str(error)) from error


commands = _Group("kiokupy", help="Look at the sessions that kiokupy keeps, and end them.")


@commands.command("list")
@click.option("--principal", help="Only the sessions of this one.")
def list_sessions(principal: str | None) -> None:
    """List the sessions that have not expired.

    A line each: handle, principal, when it was created, when it was used, when it ends, and from where it is used.
    """
    with closing(_manager().sessions(principal)) as found:
        for info in found:
            click.echo(info)


@commands.command()
def stats() -> None:
    """Count the sessions."""
    found = _manager().stats()
    click.echo(f"{found.alive} alive\n{found.expired} expired, for the next sweep")


@commands.command()
@click.option("--limit", type=click.IntRange(min=0), help="So many at most.")
def sweep(limit: int | None) -> None:
    """Take expired sessions out of the store."""
    click.echo(f"{_manager().sweep(limit)} expired sessions taken out")


@commands.command()
@click.argument("principal")
def revoke(principal: str) -> None:
    """End all sessions of PRINCIPAL."""
    click.echo(f"{_manager().destroy_all(principal)} sessions ended")


@commands.command()
@click.argument("principal")
@click.argument("handle")
def end(principal: str, handle: str) -> None:
    """End one session of PRINCIPAL, by its HANDLE in the list."""
    if not _manager().end(principal, handle):
        raise click.ClickException("there is no such session")
    click.echo("the session is ended")


def _manager() -> SessionManager:
    return cast(SessionManager, flask.current_app.extensions["kiokupy"].manager)
