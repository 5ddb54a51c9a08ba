"""Text for terminals, Markdown and HTML shows every character and commands nothing."""
import os

import pytest

from openatac.text import for_html, for_markdown, for_terminal


@pytest.mark.parametrize('text, shown', [
    ('\x1b[2Ja', '\\x1b[2Ja'), ('a\nb', 'a\\nb'), ('a\tb\r', 'a\\tb\\r'), ('\x7f\x9b', '\\x7f\\x9b'),
    (os.fsdecode(b'a\xff'), 'a\\xff'), ('\u202egnp.exe', '\\u202egnp.exe'), ('\ud800', '\\ud800'),
    ('plain é ümlaut 漢字 😀 \\x1b', 'plain é ümlaut 漢字 😀 \\x1b')])
def test_control_characters_are_made_visible(text, shown):
    assert for_terminal(text) == shown


def test_markdown_shows_text_literally():
    assert for_markdown('<b>&|`*[x](y)_a_ act_layers 4 1.2.3') == \
        '&lt;b&gt;&amp;\\|\\`\\*\\[x\\](y)\\_a\\_ act_layers 4 1.2.3'
    assert for_markdown('a\n\n# b\x1b[0m') == 'a # b\\[0m'


def test_html_shows_text_literally():
    assert for_html('<a href="x">\x1b\'') == '&lt;a href=&quot;x&quot;&gt;&#x27;'
