"""Flask's command line: ``flask kiokupy sweep``, ``stats``, ``list`` and ``revoke``."""

from __future__ import annotations

from datetime import datetime
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


@commands.command()
@click.option("--limit", type=click.IntRange(min=1), help="Remove so many at most.")
def sweep(limit: int | None) -> None:
    """Remove expired sessions from the store."""
    click.echo(f"{_manager().sweep(limit)} expired sessions removed")


@commands.command()
def stats() -> None:
    """Count the sessions in the store."""
    found = _manager().stats()
    click.echo(f"{found.alive} alive\n{found.expired} expired, for the next sweep")


@commands.command("list")
@click.option("--principal", help="Only the sessions of this one.")
def list_sessions(principal: str | None) -> None:
    """List the sessions that have not expired: handle, principal, created, used, expires, from where."""
    for info in _manager().sessions(principal):
        times = (_said(time) for time in (info.created, info.used, info.expires))
        click.echo("  ".join([info.handle, info.principal or "-", *times, info.device.address or "-"]))


@commands.command()
@click.argument("principal")
def revoke(principal: str) -> None:
    """End all sessions of PRINCIPAL."""
    click.echo(f"{_manager().destroy_all(principal)} sessions of {principal} ended")


def _manager() -> SessionManager:
    return cast(SessionManager, flask.current_app.extensions["kiokupy"].manager)


def _said(time: datetime) -> str:
    return time.isoformat(" ", "seconds")
