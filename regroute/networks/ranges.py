"""A set of addresses as sorted, disjoint spans: to compare one set with another."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from .spans import Span


@dataclass(frozen=True)
class Ranges:
    """A set of addresses. Made by `Ranges.of`, which sorts and merges."""

    spans: tuple[Span, ...]

    @classmethod
    def of(cls, spans: Iterable[Span]) -> "Ranges":
        """The union of `spans`, which may overlap, touch and come in any order."""
        merged: list[Span] = []
        for span in sorted(spans):
            before = merged[-1] if merged else None
            if before and before.version == span.version and span.first <= before.last + 1:
                if span.last > before.last:
                    merged[-1] = Span(span.version, before.first, span.last)
            else:
                merged.append(span)
        return cls(tuple(merged))

    def contains(self, other: "Ranges") -> bool:
        """Whether every address of `other` is one of ours."""
        return all(self._contains_span(span) for span in other.spans)

    def _contains_span(self, span: Span) -> bool:
        # The last of our spans that begins at or before `span`; merged, so it is the only one
        # that can hold all of it.
        index = bisect_right(self.spans, (span.version, span.first, float("inf"))) - 1
        if index < 0:
            return False
        ours = self.spans[index]
        return ours.version == span.version and span.last <= ours.last


EVERYWHERE = Ranges.of([Span(4, 0, 2**32 - 1), Span(6, 0, 2**128 - 1)])
