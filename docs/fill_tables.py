"""Copy the tables of comparisons in results/ into docs/results.md: python docs/fill_tables.py.

A comment `<!-- results/NAME -->` stands before each of the two tables of results/NAME/comparison.md, in
order.
"""
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / 'docs' / 'results.md'
TABLE = re.compile(r'(?:^\|.*\n)+', re.MULTILINE)


def filled(text):
    """Return the page with the tables that the comparisons have now."""
    seen = Counter()

    def table(match):
        tables = TABLE.findall((ROOT / match[1] / 'comparison.md').read_text('utf-8'))
        seen[match[1]] += 1
        return f'<!-- {match[1]} -->\n\n{tables[seen[match[1]] - 1]}\n'

    return re.sub(rf'<!-- (results/\w+) -->\n\n(?:{TABLE.pattern}\n)?', table, text, flags=re.MULTILINE)


if __name__ == '__main__':
    PAGE.write_text(filled(PAGE.read_text('utf-8')), 'utf-8')
