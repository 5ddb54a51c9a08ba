"""Self-contained web pages: templates, and their common style in page.css."""
from __future__ import annotations

import string
from importlib import resources


def fill_page(package: str, **texts: str) -> str:
    """Return a package's page.html with its $names replaced by ``texts``, which are HTML.

    $style becomes the common style of our pages.
    """
    template = string.Template(resources.files(package).joinpath('page.html').read_text('utf-8'))
    style = resources.files('openatac').joinpath('page.css').read_text('utf-8').rstrip()
    return template.substitute(texts, style=style)
