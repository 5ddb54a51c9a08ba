"""What MkDocs adds to the pages in docs/: reference, outputs of tutorials, links, and formulas."""
import argparse
import base64
import contextlib
import html
import importlib
import json
import os
import re
from pathlib import Path
from unittest.mock import patch

import latex2mathml.converter
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

import openatac
from openatac.commands.catalogue import COMMANDS, JOBS

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / 'docs'
NOTEBOOKS = ROOT / 'build' / 'tutorials'  # by docs/run_tutorial.py
PAGES = {'CONTRIBUTING.md': 'contributing.md', 'CHANGELOG.md': 'changelog.md'}  # files at the top -> pages
LINK = re.compile(r'\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)')
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
EXTENSION = [  # public names below openatac's own
    'openatac.models.hosts.Host', 'openatac.backends.base.Backend', 'openatac.backends.base.Engine',
    'openatac.export.forms.base.Form', 'openatac.export.runtimes.base.Runtime',
    'openatac.export.predictor.Predictor', 'openatac.export.manifest.Manifest',
    'openatac.serving.app.create_app', 'openatac.serving.classifier.Classifier',
    'openatac.serving.limits.Limits']
UNITS = [f'openatac.nn.{name}' for name in (
    'activations.PReLU', 'activations.Mish', 'activations.Sine', 'frelu.FReLU', 'xunit.XUnit',
    'squeeze_excite.SEBlock', 'gather_excite.GatherExcite', 'attention.ECA', 'attention.CBAM',
    'attention.LocalSEBlock', 'attention.NINBlock', 'augmented_conv.AttentionAugmentedConv2D',
    'local_self_attention.StandAloneSelfAttention')]
PYTORCH = [f'openatac.pytorch.{name}' for name in (
    'nn.atac.ATAC', 'zoo.get_model', 'weights.load_parameters', 'weights.save_parameters',
    'nn.normalisation.use_biased_variance')]
ERRORS = [f'openatac.errors.{name}' for name in (
    'OpenatacError', 'DataError', 'ParameterFileError', 'CheckpointError', 'DeviceError', 'UnfitEnvironment')]


def on_files(files, config):
    """Add the generated pages."""
    pages = {page: (ROOT / name).read_text('utf-8') for name, page in PAGES.items()}
    pages['reference/commands.md'] = '\n'.join(commands())
    pages['reference/api.md'] = '\n'.join(api())
    for notebook in NOTEBOOKS.glob('*.ipynb'):
        page = f'tutorials/{notebook.stem}.md'
        files.remove(files.get_file_from_path(page))
        pages[f'tutorials/{notebook.name}'] = notebook.read_text('utf-8')
        pages[page] = '\n\n'.join(page_of_notebook(notebook, pages))
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Have links to files outside docs/ lead to their page, or to the repository; pictures are copied."""
    generated = {page: name for name, page in PAGES.items()}.get(page.file.src_path)
    folder = ROOT if generated else (DOCS / page.file.src_path).parent

    def replace(match):
        target = Path(os.path.normpath(folder / match[1]))
        if not target.is_relative_to(DOCS):
            name = target.relative_to(ROOT).as_posix()
            if target.suffix == '.png':
                if not files.get_file_from_path(name):
                    files.append(File.generated(config, name, abs_src_path=str(target)))
            elif name not in PAGES:
                return f']({config.extra["repository"]}/blob/main/{name}{match[2] or ""})'
            target = DOCS / PAGES.get(name, name)
        path = os.path.relpath(target, (DOCS / page.file.src_path).parent)
        return f']({path}{match[2] or ""})'

    return LINK.sub(replace, markdown)


def on_page_content(content, page, config, files):
    """Write formulas as MathML, which browsers draw by themselves."""
    def replace(match):
        display = 'block' if match[1] == 'div' else 'inline'
        return latex2mathml.converter.convert(html.unescape(match[2]), display=display)

    return FORMULA.sub(replace, content)


def on_post_page(output, page, config):
    """Refuse a page that loads something from another site."""
    loaded = re.search(r'<(?:script|img|iframe|link)[^>]* (?:src|href)="https?:[^>]*>', output)
    if loaded:
        raise PluginError(f'{page.file.src_path} loads something from another site: {loaded[0]}')
    return output


# ---------------------------------------------------------------------------------- tutorials

def page_of_notebook(path, files):
    """Yield the parts of a tutorial's page, and put its pictures into {path: content}."""
    for cell in json.loads(path.read_text('utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            yield source
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


# ----------------------------------------------------------------------------------- commands

def commands():
    """Yield the lines of the page of all commands, from their parsers."""
    yield '# Commands\n'
    yield 'Made from the parsers of the commands. `train_cifar.py` and `train_imagenet.py` of a checkout are'
    yield '`openatac train-cifar` and `openatac train-imagenet`.\n'
    for job, commands in JOBS.items():
        yield f'\n| to {job} | |\n|---|---|'
        for name, command in commands.items():
            yield f'| [`openatac {name}`](#openatac-{name}) | {command.summary} |'
    for name, command in COMMANDS.items():
        parser = parser_of(name)
        yield f'\n## `openatac {name}` {{ #openatac-{name} }}\n'
        yield f'```text\n{parser.format_usage()}```\n\n{html.escape(parser.description, quote=False)}\n'
        for group in parser._action_groups:
            yield from table(group)
        lines = '\n'.join(command.lines(name))
        yield f'\n**examples**\n\n```bash\n{lines}\n```\n'
        yield f'Explained in [docs/{command.page}](../{command.page}).\n'


def parser_of(command):
    """Return the parser of a command, with the defaults that its help shows."""
    parsers = []
    module = importlib.import_module(f'openatac.commands.{command.replace("-", "_")}')
    with patch.object(argparse.ArgumentParser, 'print_help', lambda self, file=None: parsers.append(self)), \
            contextlib.suppress(SystemExit):
        module.main(['--help'])
    return parsers[0]


def table(group):
    """Yield the lines of the table of a group of arguments."""
    actions = [action for action in group._group_actions
               if action.help != argparse.SUPPRESS and '--help' not in action.option_strings]
    if not actions:
        return
    yield f'\n**{group.title}**\n\n| argument | |\n|---|---|'
    formatter = argparse.HelpFormatter('')
    for action in actions:
        cells = [formatter._format_action_invocation(action),
                 formatter._expand_help(action) if action.help else '']
        names, text = [html.escape(cell, quote=False).replace('|', '&#124;') for cell in cells]
        yield f'| <code>{names}</code> | {text} |'


# ---------------------------------------------------------------------------------------- API

def api():
    """Yield the lines of the page of public names, whose text comes from the docstrings."""
    yield '# API\n\n`import openatac` is cheap: it loads no MXNet, and each name loads on first use.\n'
    public = [f'{module}.{name}' for name, module in openatac._PUBLIC.items()]
    for title, names in (('openatac', public), ('PyTorch', PYTORCH), ('Units', UNITS),
                         ('Extension and export', EXTENSION), ('Errors', ERRORS)):
        yield f'\n## {title}\n'
        yield from (f'::: {name}\n' for name in names)
