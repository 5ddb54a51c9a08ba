"""A headless browser, if this machine has one."""
import html
import importlib.util
import json
import os
import re
import shutil
import subprocess

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


def in_browser(url, folder, *flags):
    """A page as it is after its scripts, as HTML; the browser writes to ``folder``."""
    result = subprocess.run(
        [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync',
         '--disable-background-networking', '--disable-component-update', '--disable-quic', *flags,
         f'--user-data-dir={folder / "profile"}', '--dump-dom', url],
        capture_output=True, text=True, timeout=120, env={**os.environ, 'HOME': str(folder)})
    assert result.returncode == 0, result.stderr
    return result.stdout


def with_axe(page):
    """A page that checks itself by axe, two seconds after it has loaded, for `inaccessible` to read."""
    axe, = importlib.util.find_spec('axe_core_python').submodule_search_locations
    with open(os.path.join(axe, 'axe.min.js'), encoding='utf-8') as file:
        rules = file.read().replace('</script', '<\\/script')
    check = """
window.addEventListener('load', () => setTimeout(async () => {
  const { violations, passes } = await axe.run(document);
  const report = document.body.appendChild(document.createElement('pre'));
  report.id = 'axe';
  report.textContent = JSON.stringify({ passes: passes.length, violations: violations.map(
    rule => [rule.id, ...rule.nodes.map(node => node.html)]) });
}, 2000));
"""
    return page.replace('</body>', f'<script>{rules}</script><script>{check}</script></body>')


def inaccessible(shown):
    """[[rule that is violated, HTML of each place]] on a page from `with_axe` as the browser shows it."""
    report = json.loads(html.unescape(re.search('<pre id="axe">(.*?)</pre>', shown, re.DOTALL)[1]))
    assert report['passes'] > 10
    return report['violations']
