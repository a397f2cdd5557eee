"""A past moment of one metric as a notebook's cell shows it: figures, rule, how unusual it was, slices, picture."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from html import escape
from typing import Any

from matplotlib.figure import Figure

from alerting import messages, plots
from alerting.messages.history import rare
from alerting.messages.numbers import Numbers, change
from alerting.messages.phrases import Phrases
from alerting.messages.slices import named
from alerting.messages.why import Why
from alerting.model import Cause, Event, Metric, Slice, Verdict, cells


@dataclass(frozen=True)
class Moment:
    """One bucket of one metric: what was judged, why, and what explains it. In a cell it shows itself."""

    metric: Metric
    verdict: Verdict
    event: Event  # with the incident, its rarity and its cause
    standing: str  # what a run would have made of it
    rule: str  # which question it answers how
    trouble: str  # why there is no cause
    picture: Figure
    reader: messages.Reader

    @property
    def cause(self) -> Cause | None:
        return self.event.incident.cause if self.event.incident else None

    def facts(self) -> dict[str, str]:
        """What there is to say, by what it is about."""
        numbers, v = Numbers.of(self.metric.form, self.reader.language, self.verdict), self.verdict
        expected = f"{numbers.value(v.expected)} ({numbers.range(v.low, v.high)})" if v.expected == v.expected else "not known"
        off = ", ".join(filter(None, [change(v, self.reader.language), f"score {v.score:+.2f}" if v.score == v.score else ""]))
        said = {
            "bucket": f"{cells.text(v.bucket, self.reader.zone)} ({self.reader.zone})",
            "value": numbers.value(v.value), "expected (band)": expected, "off": off, "answer": self.standing,
            "rule": self.rule, "how unusual": self._unusual(), "slices": self.slices_said(),
        }  # fmt: skip
        return {name: text for name, text in said.items() if text}

    def _unusual(self) -> str:
        incident = self.event.incident
        context = messages.Context(self.metric, self.reader, rarity=incident.rarity if incident else None)
        return rare(Phrases(self.event, context)) or "nothing to say: it is not rare, or the history is short"

    def slices_said(self) -> str:
        """Which slices carry the change; or why nothing can be said."""
        if self.cause is None or self.event.incident is None:
            return self.trouble
        why = Why.of(self.event.incident, self.metric, self.reader)
        lines = [why.line() if why.head() else "no slice carries the change", *why.beside()]
        return "; ".join(lines)

    def slices(self) -> list[dict[str, str]]:
        """The slice that carries the change, the rest, and the others of its kind."""
        cause = self.cause
        if cause is None or cause.slice is None:
            return []
        rest = [("the rest", cause.rest)] if cause.rest and len(cause.others) != 1 else []  # else it is the other
        rows = [(self._name(cause.slice), cause.slice), *rest, *((self._name(other), other) for other in cause.others)]
        return [self._slice(name, item, "ratio" if cause.effect != "count" else self.metric.form) for name, item in rows]

    def _name(self, item: Slice) -> str:
        return named(item, self.reader.language, clean=str)

    def _slice(self, name: str, item: Slice, form: str) -> dict[str, str]:
        numbers = Numbers.fitting(form, self.reader.language, item.value, item.expected)
        facts = {"value": numbers.value(item.value), "expected": numbers.value(item.expected)}
        return {"slice": name, **facts, "change": cells.share(item.change)}

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text("\n".join(f"{name}: {text}" for name, text in self.facts().items()))

    def _repr_html_(self) -> str:
        title = self.metric.title.get(self.reader.language) or self.metric.name
        rows = [{"": name, " ": text} for name, text in self.facts().items()]
        picture = b64encode(plots.png(self.picture, 72)).decode()
        image = f'<img style="max-width:540px" alt="{escape(title)}" src="data:image/png;base64,{picture}">'
        slices = self.slices()
        return cells.table(rows, f"{title}, explained") + image + (cells.table(slices, "Slices") if slices else "")
