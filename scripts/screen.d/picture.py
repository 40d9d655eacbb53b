"""What a terminal shows after some bytes, as a page: picture.py COLUMNS ROWS FILE < BYTES

Prints the size that the page needs, as WIDTH,HEIGHT.
"""

import html
import sys
from pathlib import Path

import pyte

# Of a character, and around all of them, in pixels.
CELL = (9, 17)
MARGIN = 14

FONT = '15px "DejaVu Sans Mono", monospace'
INK, PAPER = "#d4d7dd", "#16181d"

# The sixteen colours are the terminal's own choice; these can be read on its paper.
COLOURS = {
    "default": INK, "black": "#16181d", "red": "#f2777a", "green": "#8fc47f", "brown": "#e6c35c", "blue": "#6fa8dc",
    "magenta": "#c58fd8", "cyan": "#5cc6d0", "white": "#d4d7dd",
    "000000": "#16181d", "cd0000": "#f2777a", "00cd00": "#8fc47f", "cdcd00": "#e6c35c", "0000ee": "#6fa8dc",
    "cd00cd": "#c58fd8", "00cdcd": "#5cc6d0", "e5e5e5": "#b0b5bf", "7f7f7f": "#6b717c",
}


def main():
    columns, rows, path = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    screen = pyte.Screen(columns, rows)
    pyte.ByteStream(screen).feed(sys.stdin.buffer.read())
    lines = "\n".join(line(screen.buffer[row], columns) for row in range(rows))
    width = round(columns * CELL[0] + 2 * MARGIN)
    height = rows * CELL[1] + 2 * MARGIN
    path.write_text(f"""<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; background: {PAPER}; }}
pre {{ margin: {MARGIN}px; font: {FONT}; line-height: {CELL[1]}px; color: {INK}; }}
i {{ display: inline-block; width: {CELL[0]}px; height: {CELL[1]}px; font-style: normal; vertical-align: top; }}
</style><pre>{lines}</pre>""")
    print(f"{width},{height}")


def line(cells, columns):
    """A row. Every character has its own place: fonts that help out do not keep to the width."""
    every = (cells[column] for column in range(columns))
    return "".join(f'<i style="{style(cell)}">{html.escape(cell.data)}</i>' for cell in every)


def style(cell):
    colour = COLOURS.get(cell.fg, f"#{cell.fg}")
    return f"color:{colour}" + (";font-weight:bold" if cell.bold else "")


main()
