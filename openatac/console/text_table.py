"""Rows of text in columns."""
from openatac.console.escapes import for_terminal


def text_table(rows):
    """Lines of rows of strings: the first column begins at the left, the others end at the right."""
    rows = [[for_terminal(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return '\n'.join('  '.join(cell.ljust(width) if index == 0 else cell.rjust(width)
                               for index, (cell, width) in enumerate(zip(row, widths))) for row in rows)
