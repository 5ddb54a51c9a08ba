"""Run a tutorial, and write it with its outputs as a notebook.

    python docs/run_tutorial.py docs/tutorials/unit.md build/tutorials/unit.ipynb

The code blocks of the page, in Python and bash, are the cells. They run in a new folder. A cell that starts
with "# needs PACKAGE, PACKAGE" does not run where one of these cannot be imported, nor do those after it.
"""
import importlib
import os
import re
import sys
import tempfile

import jupytext
import nbclient
import nbformat

NEEDS = re.compile(r'# needs ([\w, ]+)')


def run(source, folder):
    """Return the notebook of a tutorial with its outputs, run in that folder."""
    notebook = jupytext.read(source)
    missing = False
    for cell in notebook.cells:
        needs = NEEDS.match(cell.source)
        missing |= bool(needs) and not all(map(can_import, needs[1].split(', ')))
        if missing:
            cell.metadata['tags'] = ['skip-execution']
    commands = os.path.dirname(sys.executable)  # where `openatac` is
    nbclient.NotebookClient(notebook, timeout=600, kernel_name='python3', record_timing=False,
                            extra_arguments=['--log-level=ERROR']).execute(
        cwd=folder, env={**os.environ, 'PATH': f'{commands}{os.pathsep}{os.environ["PATH"]}'})
    return notebook


def can_import(package):
    try:
        importlib.import_module(package)
    except (ImportError, RuntimeError):  # the latter is torchvision's, next to a PyTorch of another build
        return False
    return True


def main(source, target):
    with tempfile.TemporaryDirectory() as folder:
        notebook = run(source, folder)
    os.makedirs(os.path.dirname(target) or '.', exist_ok=True)
    nbformat.write(notebook, target)
    if any('tags' in cell.metadata for cell in notebook.cells):
        print(f'{source}: the last cells did not run, as a package that they need cannot be imported')


if __name__ == '__main__':
    main(*sys.argv[1:])
