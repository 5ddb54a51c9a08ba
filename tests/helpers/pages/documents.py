"""The code blocks, links and headings of the documents."""
import re
import shlex
from typing import NamedTuple

from tests.helpers.paths import ROOT

DOCUMENTS = [str(path.relative_to(ROOT))
             for path in sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')])]
BLOCK = re.compile(r'(?:^<!-- parsed only: (?P<reason>[^\n]+) -->\n)?'
                   r'^```(?P<language>\w*)\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
LINK = re.compile(r'\]\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ (.+)$', re.MULTILINE)


class Block(NamedTuple):
    """A code block of a document; ``reason`` says why it is not run, if it is not."""

    document: str
    line: int
    language: str
    text: str
    reason: str

    def __str__(self):
        return f'{self.document}:{self.line}'

    def commands(self):
        """Yield the words of each shell command in the block, without leading variable assignments."""
        for line in self.text.replace('\\\n', ' ').splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r'[A-Z_]+=', words[0]):
                del words[0]
            if words:
                yield words


def text_of(document):
    return (ROOT / document).read_text('utf-8')


def blocks_of(document):
    """Return all code blocks of a document, in order."""
    text = text_of(document)
    return [Block(document, text.count('\n', 0, match.start()) + 1, match['language'], match['text'],
                  match['reason'] or '') for match in BLOCK.finditer(text)]


def prose_of(document):
    """Return a document without its code blocks."""
    return BLOCK.sub('', text_of(document))


def links_of(document):
    """Return the link targets of a document."""
    return LINK.findall(prose_of(document))


def anchors_of(document):
    """Return the anchors of a document's headings, as GitHub and MkDocs generate them."""
    titles = [re.sub(r'\[([^\]]+)\]\([^)]*\)', r'\1', title) for title in HEADING.findall(prose_of(document))]
    return {re.sub(r'\s+', '-', re.sub(r'[^\w\s-]', '', title.lower()).strip()) for title in titles}
