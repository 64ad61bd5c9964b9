"""Queries: which objects meet some conditions, in which order; answered from indexes alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kiokupy import orderable
from kiokupy.conditions import ENDLESS, Condition, Span, condition
from kiokupy.errors import NotIndexable, NotIndexed
from kiokupy.indexing import StoredIndex
from kiokupy.upkeep import Upkeep

#: So many answers are sorted in memory rather than found by a walk through the index that has their order.
_FEW = 1_000


class Term:
    """One condition on one index.

    :raises NotIndexable: what is asked for is not of the kind that the index has.
    """

    def __init__(self, index: StoredIndex, asked: Condition) -> None:
        self._index = index
        kind = index.kind()
        spans = {_plain(index.name, kind, span) for span in asked.spans}
        # Spans of which there are several are single values. With no value in the index there is none to be found.
        self._spans = () if kind is None else tuple(sorted(spans)) if len(spans) > 1 else tuple(spans)

    def walk(self, *, reverse: bool = False) -> Iterator[tuple[Any, str]]:
        """Yield values and ids of objects that meet it, in order; an object may come with several values."""
        for span in reversed(self._spans) if reverse else self._spans:
            yield from self._index.walk(span, reverse=reverse)

    def values(self, id: str) -> list[Any]:
        """Return the values by which an object meets it, in order."""
        return [value for value in self._index.values(id) if any(span.holds(value) for span in self._spans)]


class Query:
    """The ids of the objects that meet all conditions, in the order of one index, and of ids where that has them equal.

    :param conditions: plain values or conditions by the names of indexes.
    :param order_by: the index that has the order; by default the one of the first condition.
    :raises NotIndexed: an index is not declared or not ready, or there is nothing to go by.
    :raises NotIndexable: as for :class:`Term`.
    """

    def __init__(self, upkeep: Upkeep, conditions: Mapping[str, Any], order_by: str | None, *, reverse: bool) -> None:
        if not conditions and order_by is None:
            raise NotIndexed(
                "",
                problem="search() was given no condition",
                fix="Give one, or order_by; all_objects() gives every object, and grep() looks at each",
            )
        self._reverse = reverse
        named = [(name, term) for name, asked in conditions.items() for term in _terms(upkeep.find(name), asked)]
        leading = [term for name, term in named if name == (order_by or next(iter(conditions)))]
        self._others = [term for name, term in named if term not in leading[:1]]
        #: Objects that meet all conditions may have no value here.
        self._loose = not leading
        self._order = leading[0] if leading else Term(upkeep.find(str(order_by)), Condition((Span(),)))

    def ids(self) -> Iterator[str]:
        """Yield the ids, each once. What is written while they are walked through may be seen or not."""
        few = self._few()
        yield from self._walked() if few is None else self._sorted(few)

    def _few(self) -> set[str] | None:
        """Return the ids that meet the most selective condition, if they are few; all are walked at the same time."""
        terms = self._others if self._loose else [self._order, *self._others]
        if not self._others:  # the walk in order is the shortest one
            return None
        walks = [(term.walk(), set[str]()) for term in terms]
        for _ in range(_FEW):
            for walk, met in walks:
                found = next(walk, None)
                if found is None:
                    return met
                met.add(found[1])
        return None

    def _sorted(self, few: set[str]) -> Iterator[str]:
        rows, last = [], []
        for id in filter(self._meets_others, few):
            values = self._order.values(id)
            if values:
                rows.append((values[-1 if self._reverse else 0], id))
            elif self._loose:
                last.append(id)
        yield from (id for _, id in sorted(rows, reverse=self._reverse))
        yield from sorted(last)

    def _walked(self) -> Iterator[str]:
        seen = set()
        for _, id in self._order.walk(reverse=self._reverse):
            if id not in seen and self._meets_others(id):
                seen.add(id)
                yield id
        if self._loose and self._others:
            met = {id for _, id in self._others[0].walk() if not self._order.values(id)}
            yield from sorted(filter(self._meets_others, met))

    def _meets_others(self, id: str) -> bool:
        return all(term.values(id) for term in self._others)


def _terms(index: StoredIndex, asked: Any) -> list[Term]:
    wanted = condition(asked)
    if wanted.every:
        return [Term(index, Condition((span,))) for span in wanted.spans]
    return [Term(index, wanted)]


def _plain(name: str, kind: Any, span: Span) -> Span:
    return span._replace(low=_limit(name, kind, span.low), high=_limit(name, kind, span.high))


def _limit(name: str, kind: Any, value: Any) -> Any:
    if value is ENDLESS:
        return ENDLESS
    try:
        limit = orderable.plain(value)
    except orderable.Unorderable as error:
        raise NotIndexable(name, value, problem=error.problem, fix=error.fix) from None
    own = orderable.kind(limit)
    if kind is not None and own != kind:
        has, comes = orderable.described(kind), orderable.described(own)
        raise NotIndexable(name, value, problem=f"it has {has}, not {comes}", fix=f"Look for {has}")
    return limit
