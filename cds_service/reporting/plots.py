"""The drawings of the report as SVG: no script, colours from the page, numbers also in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from markupsafe import Markup

_WIDTH, _HEIGHT = 720, 150
_LEFT, _TOP, _BOTTOM = 44, 10, 24
_GAP_SHARE = 0.25
_SMALL_WIDTH, _SMALL_HEIGHT = 132, 26
_BAR_WIDTH, _BAR_HEIGHT = 168, 16
_LEAST_WIDTH_FOR_NUMBER = 20
_MOST_DAY_LABELS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """A plot of one column a day; ``parts`` maps a colour class to its values, stacked upwards."""

    title: str
    days: Sequence[date]
    parts: Mapping[str, Sequence[float]]
    unit: str

    @property
    def _totals(self) -> list[float]:
        return [sum(values) for values in zip(*self.parts.values(), strict=True)]

    def svg(self) -> Markup:
        """Return the drawing with its axis."""
        top = _round_up(max(self._totals, default=0))
        body = Markup().join([*self._grid(top), *self._columns(top), *self._dates()])
        totals = self._totals
        words = (
            f"{self.title}: from {min(totals):,.1f} to {max(totals):,.1f} {self.unit} a day"
            if totals
            else self.title
        )
        return Markup(
            '<svg class="plot" role="img" viewBox="0 0 {} {}" aria-label="{}">{}</svg>'
        ).format(_WIDTH, _HEIGHT, words, body)

    def _grid(self, top: float) -> list[Markup]:
        lines = []
        for part in (0.0, 0.5, 1.0):
            y = self._y(part * top, top)
            lines.append(
                Markup('<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
                    _LEFT, _WIDTH, y, y
                )
            )
            lines.append(
                Markup('<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(
                    _LEFT - 6, y + 4, f"{part * top:,g}"
                )
            )
        return lines

    def _columns(self, top: float) -> list[Markup]:
        step = self._step
        columns = []
        for position, day in enumerate(self.days):
            level = 0.0
            texts = []
            for name, values in self.parts.items():
                value = values[position]
                y, base = self._y(level + value, top), self._y(level, top)
                columns.append(
                    Markup(
                        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>'
                    ).format(
                        name,
                        _LEFT + step * (position + _GAP_SHARE / 2),
                        y,
                        step * (1 - _GAP_SHARE),
                        max(0.0, base - y),
                    )
                )
                level += value
                texts.append(f"{name} {value:,.1f}" if len(self.parts) > 1 else f"{value:,.1f}")
            columns.append(
                Markup(
                    '<rect class="touch" x="{:.1f}" y="{}" width="{:.1f}" height="{}">'
                    "<title>{}: {}</title></rect>"
                ).format(
                    _LEFT + step * position,
                    _TOP,
                    step,
                    _HEIGHT - _BOTTOM - _TOP,
                    day.isoformat(),
                    ", ".join(texts),
                )
            )
        return columns

    def _dates(self) -> list[Markup]:
        every = max(1, -(-len(self.days) // _MOST_DAY_LABELS))
        return [
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                _LEFT + self._step * (position + 0.5), _HEIGHT - 6, day_words(day)
            )
            for position, day in enumerate(self.days)
            if position % every == 0
        ]

    @property
    def _step(self) -> float:
        return (_WIDTH - _LEFT) / max(1, len(self.days))

    @staticmethod
    def _y(value: float, top: float) -> float:
        return _HEIGHT - _BOTTOM - (value / top if top else 0) * (_HEIGHT - _BOTTOM - _TOP)


def day_words(day: date) -> str:
    """Return a day as people write it, without the year: "3 Nov"."""
    return f"{day.day} {day:%b}"


def trend(values: Sequence[float], words: str) -> Markup:
    """Return a small line of *values*, one a day."""
    if not values:
        return Markup()
    top = max(values) or 1
    step = (_SMALL_WIDTH - 6) / max(1, len(values) - 1)
    points = [
        (3 + step * position, _SMALL_HEIGHT - 3 - (value / top) * (_SMALL_HEIGHT - 6))
        for position, value in enumerate(values)
    ]
    lines = Markup().join(
        Markup('<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(*a, *b)
        for a, b in pairwise(points)
    )
    return Markup(
        '<svg class="trend" role="img" viewBox="0 0 {} {}" width="{}" height="{}" '
        'aria-label="{}"><title>{}</title>{}<circle cx="{:.1f}" cy="{:.1f}" r="2.4"/></svg>'
    ).format(
        _SMALL_WIDTH, _SMALL_HEIGHT, _SMALL_WIDTH, _SMALL_HEIGHT, words, words, lines, *points[-1]
    )


def shares(parts: Mapping[str, int], words: str) -> Markup:
    """Return one bar divided as *parts* (colour class to count) divide the whole."""
    total = sum(parts.values())
    if not total:
        return Markup()
    pieces, x = [], 0.0
    for name, count in parts.items():
        width = _BAR_WIDTH * count / total
        pieces.append(
            Markup('<rect class="{}" x="{:.1f}" y="0" width="{:.1f}" height="{}"/>').format(
                name, x, width, _BAR_HEIGHT
            )
        )
        if width >= _LEAST_WIDTH_FOR_NUMBER:
            pieces.append(
                Markup(
                    '<text class="on-{}" x="{:.1f}" y="12" text-anchor="middle">{}</text>'
                ).format(name, x + width / 2, f"{100 * count / total:.0f}")
            )
        x += width
    return Markup(
        '<svg class="shares" role="img" viewBox="0 0 {} {}" width="{}" height="{}" '
        'aria-label="{}"><title>{}</title>{}</svg>'
    ).format(_BAR_WIDTH, _BAR_HEIGHT, _BAR_WIDTH, _BAR_HEIGHT, words, words, Markup().join(pieces))


def length(value: float, longest: float) -> Markup:
    """Return one bar as long as *value* is of *longest*; the number stands beside it in words."""
    width = _BAR_WIDTH * value / longest if longest else 0
    return Markup(
        '<svg class="length" viewBox="0 0 {} 8" width="{}" height="8" aria-hidden="true">'
        '<rect x="0" y="0" width="{:.1f}" height="8"/></svg>'
    ).format(_BAR_WIDTH, _BAR_WIDTH, width)


def _round_up(value: float) -> float:
    """Return a round number not below *value*, for the top of an axis."""
    if value <= 0:
        return 1.0
    size = 10.0 ** (len(str(int(value))) - 1) if value >= 1 else 0.1
    while size * 100 < value:  # pragma: no cover - the size follows the value
        size *= 10
    steps = (1, 2, 3, 4, 5, 6, 8, 10)
    return next(size * step for step in steps if size * step >= value)
