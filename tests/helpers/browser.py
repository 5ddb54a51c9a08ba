"""A headless browser, if this machine has one."""
import os
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
