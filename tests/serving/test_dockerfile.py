"""The server's Dockerfile copies, installs and starts the right things; no test builds it."""
import json
import re
import shlex

import pytest

from tests.helpers.paths import ROOT
from tests.helpers.processes.commands import call_command

INSTRUCTIONS = {'FROM', 'COPY', 'RUN', 'USER', 'EXPOSE', 'HEALTHCHECK', 'ENTRYPOINT', 'CMD'}


@pytest.fixture(scope='module')
def instructions():
    """The [(instruction, rest of its line)] of the Dockerfile."""
    text = (ROOT / 'examples' / 'serve' / 'Dockerfile').read_text('utf-8').replace('\\\n', ' ')
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith('#')]


def all_of(instructions, name):
    return [rest for instruction, rest in instructions if instruction == name]


def test_image_uses_known_instructions_on_slim_python(instructions):
    assert {name for name, _ in instructions} <= INSTRUCTIONS
    assert {rest.split(' AS ')[0] for rest in all_of(instructions, 'FROM')} == {'python:3.12-slim'}


def test_image_copies_only_the_sources_of_the_wheel(instructions):
    sources = [source for rest in all_of(instructions, 'COPY') for source in rest.split()[:-1]]
    assert {'pyproject.toml', 'setup.py', 'openatac', 'README.md', 'LICENSE'} == set(sources)
    assert all((ROOT / source).exists() for source in sources)


def test_image_installs_the_server_and_onnx_runtime(instructions):
    words = shlex.split(all_of(instructions, 'RUN')[-1].split('&&')[-1])
    assert words[:2] == ['pip', 'install']
    installed = {word for word in words[2:] if not word.startswith('-')}
    metadata = (ROOT / 'pyproject.toml').read_text('utf-8')
    required = re.findall(r'^ *"([\w-]+>=[\d.]+)"', metadata, re.MULTILINE)
    assert installed <= set(required)
    assert {word.split('>=')[0] for word in installed} == {'numpy', 'Pillow', 'onnxruntime', 'fastapi',
                                                           'uvicorn'}


def test_image_runs_as_an_unprivileged_user(instructions):
    names = [name for name, _ in instructions]
    (user,) = all_of(instructions, 'USER')
    assert user.split(':')[0].isdigit() and int(user.split(':')[0]) > 0
    assert names.index('USER') < names.index('ENTRYPOINT')
    assert 'RUN' not in names[names.index('USER'):]


def test_image_serves_on_the_exposed_port(instructions, capsys):
    entry, command = (json.loads(all_of(instructions, name)[0]) for name in ('ENTRYPOINT', 'CMD'))
    assert entry[:2] == ['openatac', 'serve']
    port = entry[entry.index('--port') + 1]
    assert all_of(instructions, 'EXPOSE') == [port]
    check = json.loads(all_of(instructions, 'HEALTHCHECK')[0].split('CMD ')[1])
    assert f'127.0.0.1:{port}/health' in check[-1]
    compile(check[-1], 'HEALTHCHECK', 'exec')
    assert call_command(*entry[1:], *command, '--help') == 0  # the command accepts these flags
