"""The page of a comparison of made-up runs; a browser runs its script, if there is one."""
import logging
import os
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from openatac.figures import write_figure
from openatac.study.comparison import differences, sentences, tables
from openatac.study.comparison.comparison import Comparison
from openatac.study.comparison.error_figure import error_figure
from openatac.study.comparison.html_page import page_html
from tests.helpers.pages.browser import BROWSER, accessibility_violations, add_axe_check, render_in_browser
from tests.helpers.pages.made_up_comparison import group, several


def page(groups, measure='last_accuracy'):
    comparison = Comparison(groups, measure)
    return page_html(comparison, differences.find_differences(comparison))


@pytest.fixture(scope='module')
def text():
    """The page of `several`."""
    return page(several())


class Document(HTMLParser):
    """The content of a page; the parser fails at an unclosed or unopened tag."""

    VOID = ('meta',)

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.tables, self.texts = [], [], [], {}
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == 'table':
            self.tables.append([])
        elif tag == 'tr':
            self.tables[-1].append([])
        elif tag in ('td', 'th'):
            self.tables[-1][-1].append('')
        elif tag in ('code', 'li', 'p', 'text'):
            self.texts.setdefault(tag, []).append('')

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {'td', 'th'} & set(self.open):
            self.tables[-1][-1][-1] += data
        for tag in self.open:
            if tag in self.texts:
                self.texts[tag][-1] += data

    def all(self, tag):
        """Return the attributes of all elements with this tag."""
        return [attributes for name, attributes in self.tags if name == tag]


def test_table_has_the_rows_of_the_comparison(text):
    comparison = Comparison(several())
    assert Document(text).tables[0] == [list(tables.header(comparison)), *map(list, tables.rows(comparison))]


def test_finding_precedes_conditions_differences_and_commands():
    comparison = Comparison(several(), 'best_accuracy')
    found = differences.find_differences(comparison)
    document = Document(page_html(comparison, found))
    finding = sentences.conclusion(comparison, found)
    assert document.texts['p'][:len(finding)] == finding and len(finding) == 2
    told = sentences.circumstances(comparison)
    assert document.texts['p'][len(finding):len(finding) + len(told)] == told
    assert any('2026-11-23 to 2026-11-25' in sentence for sentence in told)
    assert document.tables[2] == [list(differences.HEADER), *(
        list(each.row()) for each in found)]
    assert document.tables[2] != Document(page(several(), 'last_accuracy')).tables[2]
    assert document.texts['code'] == [each.summary['command'] for each in comparison.runs]
    assert any({'0.7200', '0.7056;', '1002', 'OMP_NUM_THREADS=1;'} <= set(text.split())
               for text in document.texts['p'])


def test_command_text_is_escaped(text):
    assert '&lt;script&gt;&amp;' in text
    assert len(Document(text).all('script')) == text.count('<script>') == 1


def test_page_is_self_contained(text):
    assert '://' not in text and '@import' not in text and not re.search(r'url\((?!#)', text)
    document = Document(text)
    ids = [attributes['id'] for _, attributes in document.tags if 'id' in attributes]
    assert len(ids) == len(set(ids)) > 0
    for tag, attributes in document.tags:
        assert tag not in ('link', 'img', 'iframe', 'object', 'base') and 'src' not in attributes
        for name in ('href', 'xlink:href'):
            assert attributes.get(name, '#' + ids[0])[1:] in ids
    for name in re.findall(r'url\(#([^)]*)\)', text):
        assert name in ids


@pytest.mark.parametrize('measure, word', [('best_accuracy', 'best'), ('last_accuracy', 'last')])
def test_figures_show_the_accuracy_and_the_curves_of_each_depth(measure, word):
    document = Document(page(several(), measure))
    labels = [attributes['aria-label'] for attributes in document.all('svg')]
    assert word in labels[0] and all(
        f'{each.unit}, b = {each.blocks}: {100 * (1 - np.mean(each.values(measure))):.2f}%' in labels[0]
        for each in several())
    assert [label.rpartition(', ')[2] for label in labels[1:]] == ['b = 1', 'b = 10']
    assert any(word in text and '(%)' in text for text in document.texts['text'])


def test_page_is_reproducible(text):
    assert page(several()) == text


def test_costs_are_relative_to_relu(text):
    table = Document(text).tables[1]
    assert table[1:] == [['1', 'swish', '1.00', '1.00', '1.00'], ['1', 'atac', '2.44', '2.44', '1.00'],
                         ['10', 'swish', '1.00', '1.00', '1.00'], ['10', 'atac', '1.17', '1.17', '1.00']]


def test_speeds_on_different_devices_have_no_ratio():
    groups = [group('relu', 1, 100, 0.7), group('atac', 1, 150, 0.8, device='1 x gpu')]
    assert Document(page(groups)).tables[1] == [['b', 'unit', 'parameters', 'multiply-adds'],
                                                ['1', 'atac', '1.50', '1.50']]


def disturb(run):
    return run._replace(summary={**run.summary, 'disturbed': True})


def test_speed_ranges_exclude_disturbed_runs():
    one = group('relu', 1, 100, 0.70, 0.71, 0.72)  # at 1001, 1002 and 1003 images/s
    two = one._replace(runs=[disturb(one.runs[0]), *one.runs[1:]])
    none = one._replace(unit='atac', runs=[disturb(run) for run in one.runs])
    assert tables.rows(Comparison([one]))[0][-1] == '1002 (1001 to 1003)'
    assert tables.rows(Comparison([two]))[0][-1] == '1002 (1002 to 1003)'
    assert tables.rows(Comparison([one._replace(runs=one.runs[:1])]))[0][-1] == '1001'
    assert not re.search(r'\d', tables.rows(Comparison([none]))[0][-1])
    assert '1001' in sentences.describe_run(one.runs[0])
    assert '1001' not in sentences.describe_run(none.runs[0])
    document = Document(page([one, none]))
    assert document.tables[1][1][:4] == ['1', 'atac', '1.00', '1.00']
    assert not re.search(r'\d', document.tables[1][1][4])


@pytest.mark.parametrize('command, shown', [
    ("train_cifar.py --data-dir /home/me/cifar --save-dir '/tmp/a b/run 1' --seed 1",
     "train_cifar.py --data-dir cifar --save-dir 'run 1' --seed 1"),
    ('train_cifar.py --data-dir=/home/me/cifar/ --save-dir runs/1',
     'train_cifar.py --data-dir=cifar --save-dir runs/1')])
def test_page_has_no_paths_of_the_machine(command, shown):
    one = group('relu', 1, 100, 0.7)
    one.runs[0].summary['command'] = command
    assert Document(page([one])).texts['code'] == [shown]


@pytest.mark.parametrize('groups', [
    [group('relu', 1, 100, 0.7)], [group('atac', 1, 150, 0.8), group('relu', 2, 200, 0.7)]])
def test_sections_without_a_comparison_are_omitted(groups):
    document = Document(page(groups))
    assert len(document.tables) == 1
    assert len(document.texts['code']) == len(groups)


def test_diverged_run_is_shown():
    broken = group('relu', 1, 100, 0.7, 0.1)
    broken.runs[1].history['train_loss'][:] = [float('nan'), float('inf'), float('nan'), float('nan')]
    assert len(Document(page([broken, group('atac', 1, 150, 0.8)])).all('svg')) == 2


# -------------------------------------------------------------------- the script that sorts

def test_page_structure_suits_the_sorting_script(text):
    columns = len(tables.header(Comparison(several()))) + 5 + len(differences.HEADER)
    assert len(re.findall(r'<th scope="col"[^>]*><button ', text)) == columns
    for table, cells in zip(re.findall('<table>.*?</table>', text, re.S), Document(text).tables):
        assert table.count('<tbody>') == 1
        heads = re.findall('<th scope="col"(.*?)><button type="button">(.*?)</button></th>', table)
        assert [name for how, name in heads if 'aria-sort' in how] == ['b']
        assert [name for how, name in heads if 'class="word"' in how] in (['unit'], ['unit', 'against'])
        depths = [int(row[0]) for row in cells[1:]]
        assert depths == sorted(depths) and {len(row) for row in cells} == {len(cells[0])}


@pytest.mark.skipif(not BROWSER, reason='no Chromium on this machine')
@pytest.mark.parametrize('clicks, column, direction', [
    ([2], 2, 'ascending'), ([2, 2], 2, 'descending'), ([1], 1, 'ascending'), ([0], 0, 'descending'),
    ([5, 3, 4, 4], 4, 'descending')])
def test_click_on_a_column_head_sorts(text, tmp_path, clicks, column, direction):
    clicking = ''.join(f"document.querySelectorAll('thead button')[{click}].click();" for click in clicks)
    path = tmp_path / 'page.html'
    path.write_text(text.replace('</body>', f'<script>{clicking}</script></body>'), 'utf-8')
    document = Document(render_in_browser(path.as_uri(), tmp_path))
    shown = document.tables[0][1:]

    def value(row):
        return row[1] if column == 1 else float(row[column].split()[0].replace(',', ''))

    assert sorted(shown) == sorted(map(list, tables.rows(Comparison(several()))))
    values = [value(row) for row in shown]
    assert values == sorted(values, reverse=direction == 'descending')
    heads = [attributes for attributes in document.all('th') if attributes['scope'] == 'col']
    assert [head.get('aria-sort') for head in heads[:len(tables.header(Comparison(several())))]] == [
        direction if place == column else None for place in range(len(tables.header(Comparison(several()))))]


@pytest.mark.skipif(not BROWSER, reason='no Chromium on this machine')
def test_page_is_accessible(text, tmp_path):
    path = tmp_path / 'page.html'
    path.write_text(add_axe_check(text), 'utf-8')
    assert accessibility_violations(
        render_in_browser(path.as_uri(), tmp_path, '--virtual-time-budget=20000')) == []


@pytest.mark.skipif(not BROWSER, reason='no Chromium on this machine')
def test_inaccessible_page_is_detected(text, tmp_path):
    path = tmp_path / 'page.html'
    path.write_text(add_axe_check(text.replace(' lang="en"', '')), 'utf-8')
    (rule, *_), = accessibility_violations(
        render_in_browser(path.as_uri(), tmp_path, '--virtual-time-budget=20000'))
    assert rule == 'html-has-lang'


@pytest.mark.skipif(not BROWSER, reason='no Chromium on this machine')
def test_page_is_no_wider_than_a_phone(text, tmp_path):
    """In a frame of 360 pixels, wider tables scroll by themselves."""
    (tmp_path / 'page.html').write_text(text, 'utf-8')
    frame = tmp_path / 'frame.html'
    frame.write_text('<body><iframe src="page.html" width="360" height="700"></iframe><script>'
                     'onload = () => { document.title = document.querySelector("iframe").contentDocument'
                     '.documentElement.scrollWidth; };</script></body>')
    shown = render_in_browser(frame.as_uri(), tmp_path, '--allow-file-access-from-files')
    assert int(re.search('<title>(.*?)</title>', shown)[1]) <= 360


def test_without_matplotlib_only_the_figure_is_missing(tmp_path, monkeypatch, caplog):
    groups = several()
    for name in ('matplotlib', 'matplotlib.figure'):
        monkeypatch.setitem(sys.modules, name, None)
    document = Document(page(groups))
    assert not document.all('svg') and len(document.texts['code']) == 12
    assert sum("pip install 'openatac[demo]'" in text for text in document.texts['p']) == 1
    with caplog.at_level(logging.WARNING, 'openatac'):
        write_figure(tmp_path / 'x.png', lambda: error_figure(Comparison(groups)))
    message, = caplog.messages
    assert "pip install 'openatac[demo]'" in message
    assert not os.listdir(tmp_path)
