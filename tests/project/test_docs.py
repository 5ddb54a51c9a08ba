"""The documents name files that exist."""
import re

import pytest

from tests.conftest import ROOT

IN_CODE = re.compile(r'`((?:openatac|tests|docs|examples|benchmarks|results|\.ci)/[\w./]+)`')
LINK = re.compile(r'\]\((?!https?:|#)([^)#]+)')
IN_PATH = re.compile(r'^\| \d+ \| `([\w/]+\.py)`', re.MULTILINE)


DOCUMENTS = [str(path.relative_to(ROOT)) for path in (*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md'))]
GENERATED = {ROOT / 'docs' / 'reference' / name for name in ('api.md', 'commands.md')}


@pytest.mark.parametrize('document', DOCUMENTS)
def test_the_files_that_a_document_names_exist(document):
    path = ROOT / document
    text = path.read_text('utf-8')
    named = [ROOT / name for name in IN_CODE.findall(text)]
    named += [path.parent / name for name in LINK.findall(text)]
    named += [ROOT / 'openatac' / name for name in IN_PATH.findall(text)]
    assert not [str(each) for each in named if not each.exists() and each.resolve() not in GENERATED]


def test_the_architecture_names_every_folder():
    text = (ROOT / 'docs' / 'architecture.md').read_text('utf-8')
    folders = {path.parent.name for path in (ROOT / 'openatac').rglob('__init__.py')} - {'openatac'}
    assert not [folder for folder in sorted(folders) if f'`{folder}/`' not in text]
