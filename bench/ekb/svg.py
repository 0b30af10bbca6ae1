# SPDX-License-Identifier: ISC
"""One kind of chart: a few lines over a logarithmic x (with a place for 0) and a logarithmic y."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 78, 110, 56, 62
ZERO_GAP = 0.7  # decades between 0 and the smallest other x
COLOURS = {"postfix": "#5b6470", "ekiden": "#c2410c", "opensmtpd": "#1d6fa5", "exim": "#4d7c0f",
           "haraka": "#7e3794"}


class Scale:
    """Logarithm of a range to pixels."""

    def __init__(self, values, low, high, zero=False):
        positive = [v for v in values if v > 0]
        self.first, self.last = math.log10(min(positive)), math.log10(max(positive))
        self.zero = zero and min(values) == 0
        if self.zero:
            self.first -= ZERO_GAP
        self.span = max(self.last - self.first, 1e-9)
        self.low, self.high = low, high

    def at(self, v):
        place = self.first if v == 0 else math.log10(v)
        return self.low + (place - self.first) / self.span * (self.high - self.low)


def steps(low, high):
    """1, 2, 5, 10, ... over the range and one step beyond it on both sides."""
    marks = [m * 10.0 ** e for e in range(-6, 9) for m in (1, 2, 5)]
    below = max(m for m in marks if m <= low * 1.0001)
    above = min(m for m in marks if m >= high * 0.9999)
    return [m for m in marks if below <= m <= above]


def text(x, y, body, size=12, anchor="middle", colour="#24292f", more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'fill="{colour}"{more}>{escape(body)}</text>')


def line(x1, y1, x2, y2, colour, width=1):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>')


def axes(xs, marks, sx, sy):
    right = WIDTH - RIGHT
    for m in marks:
        yield line(LEFT, sy.at(m), right, sy.at(m), "#dfe3e8")
        yield text(LEFT - 8, sy.at(m) + 4, f"{m:g}", anchor="end")
    for x in xs:
        yield line(sx.at(x), HEIGHT - BOTTOM, sx.at(x), HEIGHT - BOTTOM + 5, "#24292f")
        yield text(sx.at(x), HEIGHT - BOTTOM + 20, f"{x:,.0f}")
    yield line(LEFT, HEIGHT - BOTTOM, right, HEIGHT - BOTTOM, "#24292f")


def value(y):
    """Two digits that count, three below a tenth."""
    return f"{y:.1f}" if y >= 1 else f"{y:.2f}" if y >= 0.1 else f"{y:.3f}"


def curve(name, points, sx, sy):
    colour = COLOURS.get(name, "#24292f")
    path = " ".join(f"{sx.at(x):.1f},{sy.at(y):.1f}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>'
    for x, y in points:
        yield f'<circle cx="{sx.at(x):.1f}" cy="{sy.at(y):.1f}" r="4" fill="{colour}"/>'
        yield text(sx.at(x), sy.at(y) - 10, value(y), 11, colour=colour)
    x, y = points[-1]
    yield text(sx.at(x) + 12, sy.at(y) + 4, name, 13, "start", colour, ' font-weight="bold"')


def chart(title, xlabel, ylabel, lines):
    """lines: {name: [(x, y), ...]}, x rising, y > 0.  The SVG text."""
    xs = sorted({x for points in lines.values() for x, _ in points})
    ys = [y for points in lines.values() for _, y in points]
    marks = steps(min(ys) / 1.3, max(ys) * 1.3)
    sx = Scale(xs, LEFT + 24, WIDTH - RIGHT - 12, zero=True)
    sy = Scale(marks, HEIGHT - BOTTOM, TOP)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    body = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" font-family="sans-serif">',
            "<!-- SPDX-License-Identifier: ISC -->",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            text(LEFT, 28, title, 16, "start", more=' font-weight="bold"'),
            *axes(xs, marks, sx, sy),
            text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, xlabel + " (logarithmic)", 13),
            text(20, middle, ylabel + " (logarithmic)", 13,
                 more=f' transform="rotate(-90 20 {middle:.1f})"')]
    for name, points in lines.items():
        body += curve(name, points, sx, sy)
    return "\n".join(body + ["</svg>"]) + "\n"
