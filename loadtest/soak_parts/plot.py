"""The plot of a soak: one panel for each quantity over time, with the faults marked. Knows numbers and names only."""

from svg import WIDTH, number, page, text

LEFT, RIGHT, PANEL, GAP = 86, 20, 110, 34


def panels(title, seconds, lines, marks):
    """`lines`: {name: [values]}, one value for each of `seconds`; `marks`: [(second, name)]."""
    last = max(seconds[-1], 1e-9)
    x_of = lambda second: LEFT + second / last * (WIDTH - LEFT - RIGHT)  # noqa: E731
    body, top = [text(16, 22, title, kind="ink")], 40
    for index, (name, values) in enumerate(lines.items()):
        most = max(values + [1e-9]) * 1.1
        bottom = top + PANEL
        y_of = lambda value, bottom=bottom, most=most: bottom - value / most * PANEL  # noqa: E731
        body.append(text(LEFT, top - 4, name))
        for value in (0, most / 2, most):
            body.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y_of(value):.1f}" y2="{y_of(value):.1f}"/>')
            body.append(text(LEFT - 8, y_of(value) + 4, number(value), "end"))
        for second, _ in marks:
            body.append(f'<line class="grid" x1="{x_of(second):.1f}" x2="{x_of(second):.1f}" y1="{top}" y2="{bottom}"/>')
        points = " ".join(f"{x_of(second):.1f},{y_of(value):.1f}" for second, value in zip(seconds, values))
        body.append(f'<polyline class="line l{(index + 1) % 8}" style="stroke-dasharray:none" points="{points}"/>')
        top = bottom + GAP
    body.append(text(LEFT, top - 14, "0 s"))
    body.append(text(WIDTH - RIGHT, top - 14, f"{number(last)} s", "end"))
    return page(top, title, "".join(body))
