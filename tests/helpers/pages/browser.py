"""A headless browser, if this machine has one."""
import html
import importlib.util
import json
import os
import re
import shutil
import subprocess

BROWSER = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)


def render_in_browser(url, folder, *flags):
    """Return a page's HTML after its scripts have run; the browser's profile is written to ``folder``."""
    result = subprocess.run(
        [BROWSER, '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync',
         '--disable-background-networking', '--disable-component-update', '--disable-quic', *flags,
         f'--user-data-dir={folder / "profile"}', '--dump-dom', url],
        capture_output=True, text=True, timeout=120, env={**os.environ, 'HOME': str(folder)})
    assert result.returncode == 0, result.stderr
    return result.stdout


def add_axe_check(page):
    """Return the page with a script that runs axe two seconds after loading.

    `accessibility_violations` reads its report.
    """
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


def accessibility_violations(shown):
    """Return [[violated rule, HTML of each place]] from a rendered page of `add_axe_check`."""
    report = json.loads(html.unescape(re.search('<pre id="axe">(.*?)</pre>', shown, re.DOTALL)[1]))
    assert report['passes'] > 10
    return report['violations']
