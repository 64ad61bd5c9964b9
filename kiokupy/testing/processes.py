"""Processes: several share a store, and none loses what another wrote."""

from __future__ import annotations

import functools
import multiprocessing
import random
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from kiokupy.opening import connect
from kiokupy.scope import Scope
from kiokupy.testing.capabilities import Capability, needs
from kiokupy.testing.opening import Connect
from kiokupy.testing.people import CLASSES, Account, Person

_WORKERS, _MOVES, _ACCOUNTS = 3, 20, 4


def move_money(target: Any, seed: int) -> int:
    """Move money between accounts at random, each time in a transaction of its own; return what was moved."""
    source, moved = random.Random(seed), 0
    with connect(target, allow_classes=CLASSES, create=0) as directory:
        for number in range(_MOVES):
            giver, taker = source.sample(range(_ACCOUNTS), 2)
            amount = source.randrange(1, 10)
            directory.txn_do(functools.partial(_move, f"{seed} {number}", giver, taker, amount), retries=200)
            moved += amount
    return moved


def _move(name: str, giver: int, taker: int, amount: int, scope: Scope) -> None:
    source, sink = scope.get(str(giver)), scope.get(str(taker))
    source.balance -= amount
    sink.balance += amount
    scope.get("moved").balance += amount
    scope.store(Person(name), id=name)


class Processes:
    """Tests of several processes at once."""

    @needs(Capability.SHARED)
    def test_money_that_processes_move_is_neither_lost_nor_made(self, connect: Connect, target: Any) -> None:
        directory = connect()
        with directory.new_scope() as scope:
            for number in range(_ACCOUNTS):
                scope.store(Account(100), id=str(number))
            scope.store(Account(0), id="moved")
        with ProcessPoolExecutor(_WORKERS, mp_context=multiprocessing.get_context("spawn")) as pool:
            running = [pool.submit(move_money, target, seed) for seed in range(_WORKERS)]
            moved = sum(each.result() for each in running)
        with directory.new_scope() as scope:
            accounts = [scope.get(str(number)) for number in range(_ACCOUNTS)]
            assert sum(account.balance for account in accounts) == 100 * _ACCOUNTS
            assert scope.get("moved").balance == moved
            written = [f"{seed} {number}" for seed in range(_WORKERS) for number in range(_MOVES)]
            assert [person.name for person in scope.lookup_many(written).values()] == written
