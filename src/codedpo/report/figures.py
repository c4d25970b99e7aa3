"""Figures as inline SVG. Pure functions: numbers in, markup out; colours come from the page's style sheet.

Every figure is drawn in a box of ``WIDTH`` units, so that one unit is about one pixel at phone width and text
never becomes too small. Series are told apart by class, dash and marker, not by colour alone.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from itertools import pairwise

WIDTH = 360
LETTER = 7.0
"""Width that a letter of a row's label may take, on average."""
LETTERS = 26
"""Longest label of a row, so that the drawing keeps room."""
HEIGHT = 200
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 14, 34


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    """(x, y), ascending in x, finite."""
    tone: str = "main"
    """Class that the style sheet colours: ``main``, ``chosen``, ``rejected``, ``third``, ``fourth``."""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Interval:
    """One row of an interval plot."""

    label: str
    value: float
    low: float
    high: float
    tone: str = "main"


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear (or base-10 logarithmic) map from values to units of the drawing."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Return the position of a value."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Return round values inside the axis, at least two."""
        if not self.logarithmic:
            return nice_ticks(self.low, self.high)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        # Two decades or more hold enough powers of ten; less is divided further, and a narrow range evenly.
        wide = self.high >= 100 * self.low
        step = max(1, math.ceil((last - first) / 5)) if wide else 1
        factors = (1,) if wide else (1, 2, 5)
        found = [factor * 10.0**power for power in range(first, last + 1, step) for factor in factors]
        inside = [tick for tick in found if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]
        return inside if len(inside) > 1 else nice_ticks(self.low, self.high)


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most ``most`` values with steps of 1, 2 or 5 times a power of ten, inside [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Write ticks with so many digits that no two of them read alike."""
    texts = (list(map(partial(number, digits=digits), ticks)) for digits in range(3, 16))
    return next((found for found in texts if len({*found}) == len(ticks)), list(map(number, ticks)))


def number(value: float, digits: int = 3) -> str:
    """Write a number as short as its reader needs: 1,234, 0.0031, 1e-07; ``digits``: those that count below 1,000."""
    size = abs(value)
    if value == round(value) and size < 1e6:
        return f"{value:,.0f}".replace("-", "−")
    if size >= 1e6 or size < 1e-4:
        mantissa, _, power = f"{value:.{digits - 2}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}".replace("-", "−")
    text = f"{value:,.{digits}g}" if size < 1000 else f"{value:,.{digits - 3}f}"
    return text.replace("-", "−")


def _bounds(values: Iterable[float], *, include: Sequence[float] = ()) -> tuple[float, float]:
    items = [*values, *include]
    low, high = min(items), max(items)
    if low == high:
        room = abs(low) * 0.1 or 1.0
        return low - room, high + room
    return low, high


def _svg(body: list[str], label: str, height: float = HEIGHT, *, attributes: str = "") -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" height="{height:g}" role="img" '
        f'aria-label="{escape(label)}"{attributes}>{"".join(body)}</svg>'
    )


def _text(kind: str, x: float, y: float, content: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _frame(x_axis: Axis, y_axis: Axis, x_label: str, y_label: str) -> list[str]:
    """Draw grid lines, ticks and axis names."""
    body = []
    y_ticks, x_ticks = y_axis.ticks(), x_axis.ticks()
    for tick, text in zip(y_ticks, tick_texts(y_ticks), strict=True):
        y = y_axis.at(tick)
        body.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        body.append(_text("tick", LEFT - 6, y + 3.5, text, "end"))
    bottom = HEIGHT - BOTTOM + 14
    named = zip(x_ticks, tick_texts(x_ticks), strict=True)
    body.extend(_text("tick", x_axis.at(tick), bottom, text, "middle") for tick, text in named)
    body.append(
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    body.append(
        f'<text class="name" x="{middle:g}" y="{HEIGHT - 5}" text-anchor="middle">{escape(x_label)}</text>'
    )
    if y_label:
        body.append(f'<text class="name" x="2" y="9">{escape(y_label)}</text>')
    return body


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def line_chart(
    series: Sequence[Series],
    label: str,
    *,
    x_label: str = "step",
    y_label: str = "",
    zero: bool = False,
    logarithmic: bool = False,
    band: Sequence[tuple[float, float, float]] = (),
) -> str:
    """Draw lines over a common axis.

    Args:
        series: At least one with at least one point; with ``logarithmic`` every y is above 0.
        label: What the figure shows, for people who do not see it.
        x_label: Name of the horizontal axis.
        y_label: Name of the vertical axis.
        zero: Keep 0 inside the vertical axis.
        logarithmic: Logarithmic vertical axis.
        band: (x, low, high) of a shaded range behind the lines.
    """
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points] + [bound for _, *bounds in band for bound in bounds]
    x_axis = Axis(*_bounds(xs), LEFT, WIDTH - RIGHT)
    low, high = _bounds(ys, include=(0.0,) if zero else ())
    if not logarithmic:
        low, high = low - (high - low) * 0.04 * (low != 0), high + (high - low) * 0.04
    y_axis = Axis(low, high, HEIGHT - BOTTOM, TOP + 6, logarithmic)
    body = _frame(x_axis, y_axis, x_label, y_label)
    if band:
        edge = [(x_axis.at(x), y_axis.at(top)) for x, _, top in band]
        edge += [(x_axis.at(x), y_axis.at(bottom)) for x, bottom, _ in reversed(band)]
        body.append(f'<path class="band" d="{_path(edge)}Z"/>')
    for line in series:
        places = [(x_axis.at(x), y_axis.at(y)) for x, y in line.points]
        dash = " dashed" if line.dashed else ""
        body.append(f'<path class="line {line.tone}{dash}" d="{_path(places)}"/>')
        if len(places) <= 40:
            body += [
                f'<circle class="dot {line.tone}" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>' for x, y in places
            ]
    body.append(f'<line class="cursor" x1="0" x2="0" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    span = f' data-x="{x_axis.low:g} {x_axis.high:g} {LEFT} {WIDTH - RIGHT}"'
    return _svg(body, label, attributes=span)


def histogram(
    edges: Sequence[float], counts: Sequence[int], label: str, *, x_label: str, tone: str = "main"
) -> str:
    """Draw counts between ``edges`` (one more than ``counts``)."""
    x_axis = Axis(edges[0], edges[-1], LEFT, WIDTH - RIGHT)
    y_axis = Axis(0, max(*counts, 1) * 1.04, HEIGHT - BOTTOM, TOP + 6)
    body = _frame(x_axis, y_axis, x_label, "")
    for (left, right), count in zip(pairwise(edges), counts, strict=True):
        x, top = x_axis.at(left) + 0.75, y_axis.at(count)
        title = f"<title>{number(left)} to {number(right)}: {count:,}</title>"
        body.append(
            f'<rect class="bar {tone}" x="{x:.1f}" y="{top:.1f}" width="{x_axis.at(right) - x - 0.75:.1f}" '
            f'height="{HEIGHT - BOTTOM - top:.1f}">{title}</rect>'
        )
    return _svg(body, label)


def interval_plot(rows: Sequence[Interval], label: str, *, x_label: str, zero_line: bool = False) -> str:
    """Draw one value with its interval a row; ``zero_line`` marks 0 (for differences).

    Labels of more than ``LETTERS`` letters show their end; the whole is in the row's title.
    """
    labels = [row.label if len(row.label) <= LETTERS else f"…{row.label[1 - LETTERS :]}" for row in rows]
    longest = max(map(len, labels), default=0)
    left, step, top = max(92, round(16 + LETTER * longest)), 30, 6
    height = top + step * len(rows) + 34
    edges = [bound for row in rows for bound in (row.low, row.high)]
    low, high = _bounds(edges, include=(0.0,) if zero_line else ())
    room = (high - low) * 0.06
    axis = Axis(low - room, high + room, left, WIDTH - RIGHT - 44)
    bottom = top + step * len(rows)
    body = []
    ticks = axis.ticks()
    for tick, text in zip(ticks, tick_texts(ticks), strict=True):
        x = axis.at(tick)
        body.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        body.append(_text("tick", x, bottom + 13, text, "middle"))
    if zero_line:
        body.append(
            f'<line class="zero" x1="{axis.at(0):.1f}" x2="{axis.at(0):.1f}" y1="{top}" y2="{bottom}"/>'
        )
    for index, (row, shown) in enumerate(zip(rows, labels, strict=True)):
        y = top + step * (index + 0.5)
        title = f"<title>{escape(row.label)}: {row.value:.1f} ({row.low:.1f} to {row.high:.1f})</title>"
        sign = "+" if zero_line and row.value > 0 else ""
        text = f"{sign}{row.value:.1f}".replace("-", "−")
        body.append(
            f"<g>{title}{_text('row', left - 10, y + 4, shown, 'end')}"
            f'<line class="whisker {row.tone}" x1="{axis.at(row.low):.1f}" x2="{axis.at(row.high):.1f}" '
            f'y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<circle class="point {row.tone}" cx="{axis.at(row.value):.1f}" cy="{y:.1f}" r="4.5"/>'
            f"{_text('value', WIDTH - 4, y + 4, text, 'end')}</g>"
        )
    body.append(_text("name", (left + WIDTH - RIGHT - 44) / 2, height - 5, x_label, "middle"))
    return _svg(body, label, height)
