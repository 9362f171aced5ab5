"""Plots as SVG files of their own: curves, and bars in panels. Their colours fit light and dark.

Knows numbers, names and colours; not what was measured.
"""

import html
import math

WIDTH = 760
FONT = "system-ui, sans-serif"
# One for each curve or bar; dashes tell them apart in grey.
COLOURS = [
    ("#5b6470", "#aab2bf", "4 2"), ("#117a53", "#4fd1a0", "2 3"), ("#c2410c", "#ff9d66", "7 3"),
    ("#97690a", "#e6c14a", "12 4"), ("#8b2fb5", "#d49bf5", "9 3 2 3"), ("#0b62c4", "#6cb2ff", ""),
    ("#0b7f8f", "#5fd3e3", "5 2"), ("#b3124d", "#ff8fb5", "1 2"),
]


def escape(text):
    return html.escape(str(text))


def number(value):
    """With as many digits as it needs."""
    size = abs(value)
    digits = 0 if size >= 100 or size == 0 else 1 if size >= 10 else 2 if size >= 0.1 else 3
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def page(height, title, body):
    """A whole file."""
    light = "".join(f"--c{at}:{colour[0]};" for at, colour in enumerate(COLOURS))
    dark = "".join(f"--c{at}:{colour[1]};" for at, colour in enumerate(COLOURS))
    dashes = "".join(f".l{at}{{stroke:var(--c{at});stroke-dasharray:{colour[2] or 'none'}}}.f{at}{{fill:var(--c{at})}}"
                     for at, colour in enumerate(COLOURS))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title><style>'
        f":root{{--ground:#fff;--ink:#1b1d21;--soft:#5d636d;--rule:#d9dbdf;{light}}}"
        f"@media(prefers-color-scheme:dark){{:root{{--ground:#15171a;--ink:#e8e9eb;--soft:#a0a6b0;--rule:#383d45;{dark}}}}}"
        f".ground{{fill:var(--ground)}}text{{font:12px {FONT};fill:var(--soft)}}.ink{{fill:var(--ink);font-weight:600}}"
        f".grid{{stroke:var(--rule)}}.line{{fill:none;stroke-width:2;stroke-linejoin:round}}{dashes}</style>"
        f'<rect class="ground" width="{WIDTH}" height="{height:.0f}"/>{body}</svg>\n'
    )


def text(x, y, words, anchor="start", kind=""):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def curves(title, x_label, y_label, lines):
    """Lines `(name, colour, [(x, y), …])` on logarithmic axes, with a legend."""
    lines = [(name, colour, [(x, y) for x, y in points if x > 0 and y > 0]) for name, colour, points in lines]
    lines = [line for line in lines if line[2]]
    if not lines:
        return page(40, title, text(20, 25, "nothing was measured"))
    left, right, top, bottom, height = 86, 20, 16, 48, 380
    x_axis = Log([x for _, _, points in lines for x, _ in points], left, WIDTH - right)
    y_axis = Log([y for _, _, points in lines for _, y in points], height - bottom, top)
    body = [axis_lines(x_axis, y_axis, left, right, top, height - bottom)]
    body.append(text((left + WIDTH - right) / 2, height - 10, x_label, "middle"))
    middle = (top + height - bottom) / 2
    body.append(f'<g transform="translate(18 {middle:.0f}) rotate(-90)">{text(0, 0, y_label, "middle")}</g>')
    for _, colour, points in lines:
        path = " ".join(f"{x_axis.position(x):.1f},{y_axis.position(y):.1f}" for x, y in points)
        body.append(f'<polyline class="line l{colour}" points="{path}"/>')
        body += [f'<circle class="f{colour}" cx="{x_axis.position(x):.1f}" cy="{y_axis.position(y):.1f}" r="3"/>'
                 for x, y in points]
    for at, (name, colour, _) in enumerate(lines):
        x, y = left + (at % 3) * 220, height + 8 + (at // 3) * 20
        body.append(f'<polyline class="line l{colour}" points="{x},{y} {x + 26},{y}"/>' + text(x + 32, y + 4, name))
    return page(height + 20 + (len(lines) + 2) // 3 * 20, title, "".join(body))


class Log:
    """A logarithmic axis between two positions of the plot."""

    def __init__(self, values, start, end):
        self.low, self.high = min(values) * 0.8, max(values) * 1.25
        self.start, self.end = start, end

    def position(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self):
        """Round values; only powers of ten where there are many."""
        steps = (1,) if self.high / self.low > 3000 else (1, 2, 5)
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        values = (10.0**power * step for power in range(first, last + 1) for step in steps)
        return [value for value in values if self.low <= value <= self.high]


def axis_lines(x_axis, y_axis, left, right, top, bottom):
    """The grid and its numbers."""
    out = []
    for value in x_axis.ticks():
        x = x_axis.position(value)
        out.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>')
        out.append(text(x, bottom + 16, number(value), "middle"))
    for value in y_axis.ticks():
        y = y_axis.position(value)
        out.append(f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(text(left - 8, y + 4, number(value), "end"))
    return "".join(out)


def bars(title, unit, panels):
    """Panels `(heading, [(name, colour, value, mark), …])`, each with a scale of its own from nothing."""
    left, right, row = 190, 110, 18
    body, y = [text(16, 22, f"{title}, {unit}; each panel has its own scale", kind="ink")], 44
    for heading, rows in panels:
        body.append(text(16, y, heading, kind="ink"))
        y += 10
        most = max([value for _, _, value, _ in rows] + [1e-9])
        for name, colour, value, mark in rows:
            width = max(value, 0) / most * (WIDTH - left - right)
            body.append(text(left - 8, y + 12, name, "end"))
            body.append(f'<rect class="f{colour}" x="{left}" y="{y + 2}" width="{width:.1f}" height="{row - 5}" rx="2"/>')
            body.append(text(left + width + 6, y + 12, f"{number(value)}{mark}"))
            y += row
        y += 22
    return page(y, title, "".join(body))
