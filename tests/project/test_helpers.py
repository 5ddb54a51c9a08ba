"""The map of the helpers, in tests/helpers/__init__.py, names each file once."""
import re
from pathlib import Path

from tests import helpers


def test_map_names_every_helper_in_its_folder():
    found, folder = [], ''
    for line in helpers.__doc__.splitlines():
        heading, entry = re.match(r'(\w+/)?.*:', line), re.match(r' +(\w+) ', line)
        if entry:
            found.append(f'{folder}{entry[1]}.py')
        elif heading:
            folder = heading[1] or ''
    root = Path(helpers.__file__).parent
    files = [str(path.relative_to(root)) for path in root.rglob('*.py') if path.name != '__init__.py']
    assert found == sorted(files, key=lambda path: ('/' in path, path))
