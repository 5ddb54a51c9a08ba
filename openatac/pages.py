"""Web pages that need no other file: templates, and the style of all of them in page.css."""
from __future__ import annotations

import string
from importlib import resources


def fill_page(package: str, **texts: str) -> str:
    """Return page.html of a package, with ``texts``, which are HTML, in place of its $names.

    $style is the style of all our pages.
    """
    template = string.Template(resources.files(package).joinpath('page.html').read_text('utf-8'))
    style = resources.files('openatac').joinpath('page.css').read_text('utf-8').rstrip()
    return template.substitute(texts, style=style)
