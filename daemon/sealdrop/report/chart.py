"""Where the bars, lines and labels of a report's chart stand: pure geometry, drawn as SVG and in the PDF alike.

The origin is at the top left, units are those of the width and height that are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sealdrop.report.figures import Bar
from sealdrop.report.period import Grain
from sealdrop.report.stories import Outcome

# From the bottom of a bar to its top.
STACKED = (Outcome.DELIVERED, Outcome.IN_WORK, Outcome.REJECTED, Outcome.FAILED)
# Told apart by their lightness too, for a page that is printed in black.
COLOURS = {
    Outcome.DELIVERED: "#4f83ad",
    Outcome.IN_WORK: "#d5dbe1",
    Outcome.REJECTED: "#f0b840",
    Outcome.FAILED: "#7d1220",
}
_GRIDLINES = 5  # about so many
_LEFT, _BOTTOM, _TOP = 46.0, 22.0, 8.0
_LABEL_ROOM = 30.0  # that the label of a bar takes


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a bar."""

    outcome: Outcome
    x: float
    y: float
    width: float
    height: float
    count: int
    title: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text; ``x`` and ``y`` are its end at the axis of counts, and its middle below a bar."""

    x: float
    y: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What there is to draw. ``gridlines`` are heights, each with the count that it stands for."""

    width: float
    height: float
    left: float
    base: float
    blocks: tuple[Block, ...]
    gridlines: tuple[tuple[float, int], ...]
    labels: tuple[Label, ...]


def lay_out(bars: Sequence[Bar], grain: Grain, *, width: float, height: float) -> Chart:
    """Return the chart of some bars."""
    tallest = max((sum(bar.counts.values()) for bar in bars), default=0)
    step = _step(tallest)
    top = max(step, -(-tallest // step) * step)
    base = height - _BOTTOM
    scale = (base - _TOP) / top
    slot = (width - _LEFT) / max(1, len(bars))
    every = max(1, -(-int(_LABEL_ROOM) // max(1, int(slot))))
    blocks: list[Block] = []
    labels: list[Label] = []
    for number, bar in enumerate(bars):
        x, y = _LEFT + number * slot + slot * 0.14, base
        name = f"{bar.first:%Y-%m-%d}" if grain is Grain.DAY else f"{bar.first:%Y-%m}"
        for outcome in STACKED:
            count = bar.counts.get(outcome, 0)
            if count:
                # However few they are among many: one that failed is to be seen.
                tall = max(count * scale, 1.5)
                y -= tall
                blocks.append(Block(outcome, x, y, slot * 0.72, tall, count, name))
        if number % every == 0:
            text = str(bar.first.day) if grain is Grain.DAY else f"{bar.first:%m}/{bar.first:%y}"
            labels.append(Label(_LEFT + (number + 0.5) * slot, base + 15, text))
    gridlines = tuple((base - count * scale, count) for count in range(0, top + 1, step))
    return Chart(width, height, _LEFT, base, tuple(blocks), gridlines, tuple(labels))


def _step(tallest: int) -> int:
    """Return the round number between two grid lines."""
    step = 1
    while True:
        for factor in (1, 2, 5):
            if step * factor * _GRIDLINES >= tallest:
                return step * factor
        step *= 10
