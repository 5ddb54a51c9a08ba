"""Name the public functions of the package that no test calls.

Usage: python .ci/uncalled.py coverage.json, the file that ``coverage json`` wrote.
"""
import json
import sys

with open(sys.argv[1], encoding='utf-8') as handle:
    files = json.load(handle)['files']
uncalled = [f'{path}:{function["start_line"]}: {name}'
            for path, file in files.items() for name, function in file['functions'].items()
            if name and not any(part.startswith('_') for part in name.split('.'))
            and function['summary']['num_statements'] and not function['summary']['covered_lines']]
print(*uncalled, f'{len(uncalled)} public functions that no test calls', sep='\n')
