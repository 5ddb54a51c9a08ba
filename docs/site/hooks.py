"""What MkDocs adds to the pages in docs/: reference, outputs of tutorials, links, and formulas."""
import base64
import html
import json
import os
import re
import runpy
from pathlib import Path

import latex2mathml.converter
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / 'docs'
NOTEBOOKS = ROOT / 'build' / 'tutorials'  # by docs/run_tutorial.py
PAGES = {'README.md': 'index.md', 'docs/index.md': 'pages.md', 'CONTRIBUTING.md': 'contributing.md',
         'CHANGELOG.md': 'changelog.md'}
SOURCES = {page: ROOT / name for name, page in PAGES.items()}  # of the generated pages
OUTPUT = re.compile(r'<!-- output -->\n```text\n.*?^```\n?', re.MULTILINE | re.DOTALL)  # in a tutorial
ON_SITE = re.compile(r'^\[The site\]\(\S+\) shows this tutorial with its outputs\. ', re.MULTILINE)
LINK = re.compile(r'\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)')
BADGE = re.compile(r'^\[!\[.*\n', re.MULTILINE)  # an image of another site
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
TABLES = runpy.run_path(str(DOCS / 'fill_tables.py'))


def on_files(files, config):
    """Add the generated pages. The README is the home page, in the place of docs/index.md."""
    files.remove(files.get_file_from_path('index.md'))
    pages = {page: BADGE.sub('', (ROOT / name).read_text('utf-8')) for name, page in PAGES.items()}
    for notebook in NOTEBOOKS.glob('*.ipynb'):
        page = f'tutorials/{notebook.stem}.md'
        files.remove(files.get_file_from_path(page))
        pages[f'tutorials/{notebook.name}'] = notebook.read_text('utf-8')
        pages[page] = '\n\n'.join(page_of_notebook(notebook, pages))
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Add the reference, and have links to files outside docs/ lead to their page, or to the repository."""
    folder = SOURCES.get(page.file.src_path, DOCS / page.file.src_path).parent

    def replace(match):
        target = Path(os.path.normpath(folder / match[1]))
        name = target.relative_to(ROOT).as_posix()
        if name in PAGES:
            target = DOCS / PAGES[name]
        elif not target.is_relative_to(DOCS):
            if target.suffix == '.png':
                if not files.get_file_from_path(name):
                    files.append(File.generated(config, name, abs_src_path=str(target)))
            else:
                return f']({config.extra["repository"]}/blob/main/{name}{match[2] or ""})'
            target = DOCS / name
        path = os.path.relpath(target, (DOCS / page.file.src_path).parent)
        return f']({path}{match[2] or ""})'

    added = api(markdown) if page.file.src_path == 'reference/api.md' else []
    return LINK.sub(replace, '\n'.join([markdown, *added]))


def on_page_content(content, page, config, files):
    """Write formulas as MathML, which browsers draw by themselves."""
    def replace(match):
        display = 'block' if match[1] == 'div' else 'inline'
        return latex2mathml.converter.convert(html.unescape(match[2]), display=display)

    return FORMULA.sub(replace, content)


def on_post_page(output, page, config):
    """Refuse a page that loads something from another site."""
    loaded = re.search(r'<(?:script|img|iframe|link(?! rel="canonical"))[^>]* (?:src|href)="https?:[^>]*>',
                       output)
    if loaded:
        raise PluginError(f'{page.file.src_path} loads something from another site: {loaded[0]}')
    return output


# ---------------------------------------------------------------------------------- tutorials

def page_of_notebook(path, files):
    """Yield the parts of a tutorial's page, and put its pictures into {path: content}."""
    for cell in json.loads(path.read_text('utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            skipped = 'skip-execution' in cell['metadata'].get('tags', [])
            yield ON_SITE.sub('', source if skipped else OUTPUT.sub('', source))  # the run's own follows
            continue
        yield f'```bash\n{source[7:]}\n```' if source.startswith('%%bash\n') else f'```python\n{source}\n```'
        printed = ''.join(text for output in cell['outputs'] for text in output.get('text', []))
        if printed:
            yield f'```text\n{printed}\n```'
        for data in (output['data'] for output in cell['outputs'] if 'data' in output):
            if 'image/png' in data:
                name = f'{path.stem}-{len(files)}.png'
                files[f'tutorials/{name}'] = base64.b64decode(data['image/png'])
                yield f'![What this code draws]({name})'
            elif 'text/markdown' in data:
                yield ''.join(data['text/markdown'])
            else:
                yield f'```text\n{"".join(data["text/plain"])}\n```'
    yield f'[This tutorial as a notebook]({path.name})'


# ---------------------------------------------------------------------------------------- API

def api(page):
    """Yield what has mkdocstrings show the docstrings of the names in the tables of the page."""
    yield '\n## Docstrings\n'
    for place in dict.fromkeys(map(TABLES['definition'], TABLES['NAME'].findall(page))):
        yield f'::: {place}\n'
