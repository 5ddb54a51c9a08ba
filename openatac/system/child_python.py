"""Start Python code in another process that finds the same modules as this one."""
from __future__ import annotations

import json
import sys

_SAME_PATH = 'import json, sys\nsys.path[:] = json.loads(sys.argv.pop(1))\n'


def python_command(code: str, *arguments: object) -> list[str]:
    """Return the command that runs ``code`` with the ``arguments`` in ``sys.argv``, json and sys imported."""
    return [sys.executable, '-c', _SAME_PATH + code, json.dumps(sys.path), *map(str, arguments)]
