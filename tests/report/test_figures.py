import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedpo.report import figures
from codedpo.report.figures import Axis, Interval, Series

FINITE = st.floats(-1e9, 1e9, allow_nan=False).map(lambda value: round(value, 6))


def numbers_in(svg):
    root = ElementTree.fromstring(svg)
    names = ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height")
    return [float(node.attrib[name]) for node in root.iter() for name in names if name in node.attrib]


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_inside(low, span):
    ticks = figures.nice_ticks(low, low + span)
    assert 1 <= len(ticks) <= 7
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in ticks)
    if len(ticks) > 1:
        step = ticks[1] - ticks[0]
        assert round(step / 10 ** math.floor(math.log10(step) + 1e-9)) in (1, 2, 5, 10)


@given(st.lists(st.tuples(st.integers(0, 1000), FINITE), min_size=1, max_size=30))
def test_line_chart_stays_inside_its_box(points):
    svg = figures.line_chart([Series("a", sorted(points))], "a chart")
    assert all(-1 <= value <= figures.WIDTH + 1 for value in numbers_in(svg))
    assert "nan" not in svg


def test_logarithmic_axis_puts_decades_at_equal_distances():
    axis = Axis(1e-6, 1.0, 0.0, 60.0, logarithmic=True)
    assert [axis.at(10.0**power) for power in (-6, -3, 0)] == pytest.approx([0, 30, 60])
    assert axis.ticks()[0] == pytest.approx(1e-6)


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (1.02, 1.5, ["1.1", "1.2", "1.3", "1.4", "1.5"]),
        (0.6, 3.0, ["1", "2"]),
        (0.5, 40.0, ["0.5", "1", "2", "5", "10", "20"]),
        (1e-6, 1.0, ["1e−6", "0.0001", "0.01", "1"]),
        (1.0, 1.0003, ["1", "1.0001", "1.0002", "1.0003"]),
    ],
)
def test_a_logarithmic_chart_is_labelled_however_narrow_it_is(low, high, texts):
    svg = figures.line_chart([Series("a", [(0, low), (1, high)])], "a chart", logarithmic=True)
    ticks = [node for node in ElementTree.fromstring(svg).iter() if node.attrib.get("class") == "tick"]
    assert [node.text for node in ticks if node.attrib["text-anchor"] == "end"] == texts


@given(st.floats(1e-6, 1e6), st.floats(1.001, 1e9))
def test_a_logarithmic_axis_has_some_ticks_inside(low, factor):
    axis = Axis(low, low * factor, 0.0, 1.0, logarithmic=True)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 8
    assert all(-1e-6 <= axis.at(tick) <= 1 + 1e-6 for tick in ticks)
    assert len({*figures.tick_texts(ticks)}) == len(ticks)


def test_histogram_bars_are_as_high_as_their_counts():
    svg = figures.histogram([0, 0.5, 1], [10, 5], "counts", x_label="score")
    bars = [node for node in ElementTree.fromstring(svg).iter() if node.attrib.get("class") == "bar main"]
    heights = [float(bar.attrib["height"]) for bar in bars]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.01)


def test_interval_plot_places_value_between_its_bounds():
    svg = figures.interval_plot(
        [Interval("after", 2.0, -1.0, 5.0)], "difference", x_label="points", zero_line=True
    )
    root = ElementTree.fromstring(svg)
    (whisker,) = [node for node in root.iter() if node.attrib.get("class") == "whisker main"]
    (point,) = [node for node in root.iter() if node.attrib.get("class") == "point main"]
    (zero,) = [node for node in root.iter() if node.attrib.get("class") == "zero"]
    low, high = float(whisker.attrib["x1"]), float(whisker.attrib["x2"])
    assert float(point.attrib["cx"]) == pytest.approx((low + high) / 2, abs=0.2)
    assert float(zero.attrib["x1"]) == pytest.approx(low + (high - low) / 6, abs=0.2)
    assert "+2.0" in svg


@pytest.mark.parametrize("label", ["pass@10 HumanEval+ before", "package.of.mine:Benchmark " * 3 + "after"])
def test_long_labels_of_rows_stay_inside(label):
    svg = figures.interval_plot([Interval(label, 2.0, 1.0, 5.0)], "a plot", x_label="%")
    (row,) = [node for node in ElementTree.fromstring(svg).iter() if node.attrib.get("class") == "row"]
    assert label.endswith(row.text.removeprefix("…"))
    assert float(row.attrib["x"]) >= 6.8 * len(row.text)
    (whisker,) = [
        node for node in ElementTree.fromstring(svg).iter() if node.attrib.get("class") == "whisker main"
    ]
    assert float(whisker.attrib["x2"]) - float(whisker.attrib["x1"]) > 60


def test_labels_are_escaped():
    svg = figures.line_chart([Series("a", [(0, 1), (1, 2)])], 'x" onload="<b>')
    ElementTree.fromstring(svg)
    assert "<b>" not in svg


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234, "1,234"), (-0.5, "−0.5"), (0.00001, "1e−5"), (1234.5, "1,234"), (2.5e7, "2.5e7")],
)
def test_numbers_are_short(value, text):
    assert figures.number(value) == text
