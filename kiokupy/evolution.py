"""Evolution: what an earlier version of a class stored becomes the state of an object of today's.

Nothing is written back: an object that was not changed keeps its record until :func:`kiokupy.maintenance.upgrade`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kiokupy import entry as stored
from kiokupy.entry import Record
from kiokupy.errors import UpgradeMissing
from kiokupy.rules import Rule

_PAIR = 2  # attributes, slots: as object.__getstate__ has it


def evolved(state: Any, record: Record, rule: Rule) -> Any:
    """Return the state that an object of a rule's class gets; ``state`` itself if nothing is to be done.

    :raises UpgradeMissing: no handler leads from the record's version to the class's.
    """
    if rule.version is not None and record.version != rule.version:
        state = _on_attributes(state, record.flags, lambda attributes: _upgraded(attributes, record, rule))
    if (rule.makers or rule.do_not_serialize) and not record.flags & stored.PAIR:
        state = _on_attributes(state, record.flags, lambda attributes: _filled(attributes, rule))
    return state


def _on_attributes(state: Any, flags: int, work: Callable[[Any], Any]) -> Any:
    """Do something to the attributes in a state; one that a class gave in a form of its own is taken as it is."""
    if flags & stored.ITEMS:
        own, items, pairs = state
        done = _on_attributes(own, 0, work)
        return state if done is own else (done, items, pairs)
    if state is not None and not _has_slots(state):
        return work(state)
    attributes, slots = (state, None) if state is None else state
    merged = {**(attributes or {}), **(slots or {})}
    done = work(merged)
    return state if done is merged else done


def _has_slots(state: Any) -> bool:
    pair = isinstance(state, tuple) and len(state) == _PAIR
    return pair and all(part is None or isinstance(part, dict) for part in state)


def _upgraded(state: Any, record: Record, rule: Rule) -> Any:
    version, passed = record.version, set[str | None]()
    while version != rule.version:
        step = rule.upgrades.get(version)
        if step is None or version in passed:
            raise UpgradeMissing(record.class_name, version, wanted=rule.version)
        passed.add(version)
        version, change = (step, None) if isinstance(step, str) else step
        if isinstance(change, Mapping):
            state = {**state, **change}
        elif change is not None:
            state = change(dict(state) if isinstance(state, dict) else state)
    return state


def _filled(attributes: Any, rule: Rule) -> Any:
    if not isinstance(attributes, dict):
        return attributes
    missing = [name for name in rule.makers if name not in attributes]
    unwanted = [name for name in rule.do_not_serialize if name in attributes]
    if not missing and not unwanted:
        return attributes
    filled = {**attributes, **{name: rule.makers[name]() for name in missing}}
    return {name: value for name, value in filled.items() if name not in unwanted}
