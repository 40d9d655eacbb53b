"""From runs to figures: medians, ratios within rounds, and the bars."""

import statistics
from dataclasses import dataclass

# A median of fewer rounds than this is not compared with anything.
ENOUGH_ROUNDS = 5


@dataclass(frozen=True)
class Figure:
    """The median over the rounds, and how far they lie apart."""

    median: float
    lowest: float
    highest: float
    rounds: int


@dataclass(frozen=True)
class Verdict:
    """How a bar was judged. `outcome` is "met", "missed", or why it was not judged."""

    bar: object
    figure: Figure | None
    outcome: str


class Results:
    """The valid runs of one case."""

    def __init__(self, case, records):
        self.case = case
        self._runs = {
            (record["entrant"], record["round"]): record["figures"]
            for record in records
            if record["valid"]
        }
        self.rounds = sorted({record["round"] for record in records})
        last = {(record["entrant"], record["round"]): record for record in records}
        self.invalid = [record for record in last.values() if not record["valid"]]

    def figure(self, label, metric):
        """An entrant's own figure, or `None` when no run of it was valid."""
        return _figure(self._value(label, number, metric) for number in self.rounds)

    def ratio(self, subject, against, metric):
        """The ratio taken within each round in which both have a valid run."""
        return _figure(self._ratio(subject, against, number, metric) for number in self.rounds)

    def difference(self, subject, against, metric):
        """How much more the subject's figure is within each round in which both have a valid run."""
        return _figure(self._difference(subject, against, number, metric) for number in self.rounds)

    def verdicts(self):
        """Every bar of the case, judged."""
        return [self._judge(bar) for bar in self.case.bars]

    def _value(self, label, number, metric):
        return self._runs.get((label, number), {}).get(metric.key)

    def _ratio(self, subject, against, number, metric):
        above = self._value(subject, number, metric)
        below = self._value(against, number, metric)
        return above / below if above is not None and below else None

    def _difference(self, subject, against, number, metric):
        more = self._value(subject, number, metric)
        less = self._value(against, number, metric)
        return more - less if more is not None and less is not None else None

    def _judge(self, bar):
        if bar.against is None:
            figure = self.figure(bar.subject, bar.metric)
        elif bar.difference:
            figure = self.difference(bar.subject, bar.against, bar.metric)
        else:
            figure = self.ratio(bar.subject, bar.against, bar.metric)
        if figure is None:
            return Verdict(bar, None, "not measured")
        if figure.rounds < ENOUGH_ROUNDS:
            return Verdict(bar, figure, f"not judged: {figure.rounds} valid rounds")
        return Verdict(bar, figure, "met" if figure.median <= bar.limit else "missed")


def _figure(values):
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Figure(statistics.median(known), min(known), max(known), len(known))
