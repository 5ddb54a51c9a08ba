"""`openatac serve`: the endpoint, its limits and errors, batching, the page, and the process."""
import base64
import contextlib
import io
import re
import runpy
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

import openatac
from openatac.errors import OpenatacError
from openatac.inference.gate_maps import open_gates
from openatac.inference.predictor import Predictor
from openatac.serving.batching import Batcher
from openatac.serving.request_limits import LIMITS
from tests.helpers.exports.animal_export import ANIMALS, LABELS, animal_network, export_animals
from tests.helpers.images.made_up_images import encoded, plain, smooth
from tests.helpers.pages.browser import BROWSER, accessibility_violations, add_axe_check, render_in_browser
from tests.helpers.paths import ROOT
from tests.helpers.processes.child_environment import child_environment
from tests.helpers.processes.commands import call_command, command_error
from tests.helpers.processes.scripts import run_in_process

pytest.importorskip('fastapi')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
httpx = pytest.importorskip('httpx')
uvicorn = pytest.importorskip('uvicorn')

from fastapi.responses import HTMLResponse  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

from openatac.serving.app import create_app  # noqa: E402
from openatac.serving.classifier import Classifier  # noqa: E402

NETWORK = ANIMALS._replace(labels=[*LABELS[:-1], '<elk>'])  # a page shows labels
IMAGE = encoded(smooth(40, 60), 'PNG')


@pytest.fixture(scope='module')
def served_prefix(tmp_path_factory):
    """The prefix of an export of a network that distinguishes images, as symbol and ONNX files."""
    path = str(tmp_path_factory.mktemp('exports') / 'atac')
    export_animals(animal_network(), path, NETWORK, ['symbol', 'onnx'])
    return path


@pytest.fixture(scope='module')
def predictor(served_prefix):
    return openatac.load(served_prefix)


@pytest.fixture(scope='module')
def client(predictor, served_prefix):
    with client_of(predictor, open_gates(served_prefix)) as client:
        yield client


def client_of(predictor, gates=None, **limits):
    return TestClient(create_app(Classifier(predictor, gates, LIMITS._replace(**limits))))


def assert_refused(response, status, *named):
    """Check that a response is {"error": a sentence that names these}."""
    assert response.status_code == status, response.text
    (key, sentence), = response.json().items()
    assert key == 'error' and all(each in sentence for each in named), sentence


# ---------------------------------------------------------------------------- the endpoint

@pytest.mark.parametrize('form', ['PNG', 'JPEG', 'WEBP', 'BMP', 'TIFF', 'GIF'])
def test_server_answers_with_the_predictors_scores(client, predictor, form):
    data = encoded(smooth(40, 60), form)
    expected = predictor(Image.open(io.BytesIO(data)), top=3)
    response = client.post('/predict?top=3', content=data)
    assert response.status_code == 200
    assert response.json() == {'predictions': [
        {'label': label, 'class': index, 'score': pytest.approx(score, abs=1e-6)}
        for label, score, index in expected]}


def test_gate_maps_equal_those_of_the_export(client, predictor, served_prefix):
    maps = client.post('/predict?gates=true', content=IMAGE).json()['gates']
    expected = open_gates(served_prefix)(predictor.transform(smooth(40, 60)))
    assert [each['stage'] for each in maps] == [stage for stage, _ in expected]
    for each, (_, values) in zip(maps, expected):
        np.testing.assert_allclose(each['values'], values, atol=1e-4)


def test_health_reports_the_model(client, predictor):
    assert client.get('/health').json() == {
        'status': 'ok', 'model': NETWORK.model, 'classes': 5, 'gates': True, 'requests': 0}
    assert client_of(predictor).get('/health').json()['gates'] is False


@pytest.mark.parametrize('data', [b'', b'no image', b'%!PS-Adobe-3.0 EPSF-3.0\n', IMAGE[:50], IMAGE[:-400],
                                  b'\xff\xd8\xff\xe0' + bytes(100), encoded(smooth(64, 64))[:-200],
                                  encoded(plain(3, 1, 500), 'PNG')])
def test_invalid_image_is_refused(client, data):
    assert_refused(client.post('/predict', content=data), 422, 'image')


def test_file_that_is_too_large_is_refused(predictor):
    client = client_of(predictor, bytes=len(IMAGE) - 1)
    assert_refused(client.post('/predict', content=IMAGE), 413, f'{len(IMAGE) - 1:,} bytes')
    assert client_of(predictor, bytes=len(IMAGE)).post('/predict', content=IMAGE).status_code == 200


def test_image_of_too_many_pixels_is_refused_before_it_is_decoded(predictor):
    client = client_of(predictor, pixels=40 * 60 - 1)
    assert_refused(client.post('/predict', content=IMAGE), 413, '60 x 40', '2,399')
    huge = bytearray(IMAGE)
    huge[16:24] = (2 ** 15).to_bytes(4, 'big') * 2  # the size in the header
    assert_refused(client.post('/predict', content=bytes(huge)), 422)


def test_form_is_refused(client):
    assert_refused(client.post('/predict', files={'image': IMAGE}), 415, 'form', 'image/jpeg')


@pytest.mark.parametrize('query, named', [('top=0', 'top'), ('top=x', "'x'"), ('gates=perhaps', 'perhaps')])
def test_wrong_parameter_is_refused(client, query, named):
    assert_refused(client.post(f'/predict?{query}', content=IMAGE), 422, named)


def test_example_server_gives_the_same_answers(client, served_prefix, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['serve.py', served_prefix])
    example = TestClient(runpy.run_path(str(ROOT / 'examples' / 'serve.py'))['app'])
    assert example.post('/predict', content=IMAGE).json() == client.post('/predict', content=IMAGE).json()


def test_unavailable_gate_maps_are_refused(predictor):
    assert_refused(client_of(predictor).post('/predict?gates=true', content=IMAGE),
                   422, 'symbol', 'MXNet')


def test_other_addresses_and_methods_are_refused_in_json(client):
    assert_refused(client.get('/nothing'), 404)
    assert_refused(client.get('/predict'), 405)
    assert client.get('/docs').status_code == 404  # a page would load scripts from another site


class Network:
    """A network that a test can block: it waits for ``free`` in each batch, and records the batch sizes."""

    manifest = NETWORK

    def __init__(self, output=0.0):
        self.output, self.free, self.started, self.sizes = output, threading.Event(), threading.Event(), []

    def __call__(self, images):
        self.sizes.append(len(images))
        self.started.set()
        assert self.free.wait(60)
        return np.full((len(images), 5), self.output) + images[:, 0, 0, :1]


@pytest.fixture
def network():
    network = Network()
    yield network
    network.free.set()


def test_slow_answer_times_out(network):
    client = client_of(Predictor(network), seconds=0.2)
    response = client.post('/predict', content=IMAGE)
    assert_refused(response, 503, '0.2 s')
    assert response.headers['retry-after'] == '1'
    assert client.get('/health').json()['requests'] == 0


def test_requests_beyond_the_limit_are_refused(network):
    with client_of(Predictor(network), requests=1) as client, \
            ThreadPoolExecutor(1) as thread:
        first = thread.submit(client.post, '/predict', content=IMAGE)
        assert network.started.wait(60)
        assert_refused(client.post('/predict', content=IMAGE), 503, '1 request')
        network.free.set()
        assert first.result().status_code == 200
    assert network.sizes == [1]


def test_non_finite_outputs_are_an_error():
    network = Network(float('nan'))
    network.free.set()
    assert_refused(client_of(Predictor(network)).post('/predict', content=IMAGE), 500, 'NaN')


# --------------------------------------------------------------------------------- batches

def test_waiting_images_are_batched(network):
    batcher = Batcher(network, batch_size=4)
    images = [np.full((3, 2, 2), index, 'float32') for index in range(8)]
    outputs = [batcher.submit(images[0])]
    assert network.started.wait(60)
    outputs += map(batcher.submit, images[1:])
    assert outputs[2].cancel()
    network.free.set()
    assert [each.result()[0] for each in outputs if not each.cancelled()] == [0, 1, 3, 4, 5, 6, 7]
    assert network.sizes == [1, 4, 2]


def test_batch_error_reaches_every_image():
    def fail(images):
        raise OpenatacError('no')

    batcher = Batcher(fail, batch_size=4)
    for outputs in [batcher.submit(np.zeros((3, 2, 2))) for _ in range(3)]:
        with pytest.raises(OpenatacError):
            outputs.result(60)


# -------------------------------------------------------------------------------- the page

class Elements(HTMLParser):
    """Collects the attributes of all elements of a page by tag."""

    def __init__(self, text):
        super().__init__()
        self.found = {}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.setdefault(tag, []).append(dict(attributes))


def test_page_is_self_contained_and_labelled_for_screen_readers(client):
    response = client.get('/')
    assert response.headers['content-type'] == 'text/html; charset=utf-8'
    text, found = response.text, Elements(response.text).found
    assert '://' not in text and '@import' not in text and 'url(' not in text
    assert not {'link', 'iframe', 'object', 'base'} & set(found)
    assert not [each for tag in found.values() for each in tag if 'src' in each or 'href' in each]
    field, = found['input']
    assert field['type'] == 'file' and {'for': field['id']} in found['label'] and 'tabindex' not in field
    assert [each['role'] for each in found['p'] if 'role' in each] == ['status', 'alert']
    ids = {each['id'] for tag in found.values() for each in tag if 'id' in each}
    assert set(re.findall(r"part\('(\w+)'\)", text)) <= ids and field['aria-describedby'] in ids
    assert NETWORK.model in text and f'LIMIT = {LIMITS.bytes}, GATES = true;' in text


@pytest.mark.skipif(not BROWSER, reason='no Chromium on this machine')
def test_chosen_image_is_classified_on_an_accessible_page(client, predictor, tmp_path):
    """Run the page in a browser, with one more script in it."""
    choose = f'''<script>
const bytes = Uint8Array.from(atob('{base64.b64encode(IMAGE).decode()}'), each => each.charCodeAt(0));
classify(new File([bytes], 'a.png', {{ type: 'image/png' }}));
</script></body>'''
    html = add_axe_check(client.get('/').text.replace('</body>', choose))
    app = client.app
    app.add_api_route('/test', lambda: HTMLResponse(html))
    with serving(app) as url:
        shown = render_in_browser(url + 'test', tmp_path, '--virtual-time-budget=20000')
    label, score, _ = predictor(smooth(40, 60), top=1)[0]
    assert f'a.png: {label}, {score:.4f}'.replace('<', '&lt;').replace('>', '&gt;') in shown
    assert shown.count('<canvas') == len(client.post('/predict?gates=true', content=IMAGE).json()['gates'])
    assert accessibility_violations(shown) == []


@contextlib.contextmanager
def serving(app):
    """Serve an application in a thread of this process; yield its URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level='warning'))
    started, startup = threading.Event(), server.startup

    async def start(sockets=None):
        await startup(sockets)
        started.set()

    server.startup = start
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(60)
    try:
        yield f'http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/'
    finally:
        server.should_exit = True
        thread.join()


# ----------------------------------------------------------------------------- the process

def test_engine_that_cannot_run_the_model_is_refused(cifar10, tmp_path, capsys):
    assert run_in_process('--data-dir', cifar10, '--blocks', 1, '--batch-size', 50, '--num-epochs', 1,
                          '--save-dir', tmp_path) == 0
    assert call_command('serve', tmp_path, '--engine', 'onnxruntime') == 2
    assert 'argument --engine' in capsys.readouterr().err


@contextlib.contextmanager
def served(*words):
    """Run `openatac serve` on a free port; yield (the process, a client)."""
    process = subprocess.Popen(
        [sys.executable, '-m', 'openatac', 'serve', *words, '--port', '0'], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env=child_environment())
    try:
        line = process.stdout.readline()
        url = re.search(r'http://[\d.]+:\d+/', line)
        assert url, line + process.stderr.read()
        with httpx.Client(base_url=url[0], timeout=60, trust_env=False,
                          limits=httpx.Limits(max_connections=50)) as client:
            yield process, client
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_fifty_parallel_requests_finish_before_shutdown(served_prefix, predictor):
    images = [smooth(32, 32, seed) for seed in range(50)]
    with served(served_prefix, '--timeout', '60') as (process, client):
        with ThreadPoolExecutor(50) as threads:
            answers = list(threads.map(
                lambda image: client.post('predict?top=1', content=encoded(image, 'PNG')), images))
        assert {answer.status_code for answer in answers} == {200}
        for answer, (expected,) in zip(answers, predictor(images, top=1)):
            found, = answer.json()['predictions']
            assert found['label'] == expected.label
            assert found['score'] == pytest.approx(expected.score, abs=1e-5)
        assert client.post('predict?gates=true', content=IMAGE).json()['gates']
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stderr.read() == ''
        with pytest.raises(httpx.ConnectError):
            client.get('health')


def test_pretrained_network_is_served_until_ctrl_c():
    name = 'cifar_resnet8_v2_atac'
    with served('--model', name) as (process, client):
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: client.post('predict?top=1', content=IMAGE), range(8)))
        expected, = openatac.load(name)(Image.open(io.BytesIO(IMAGE)), top=1)
        assert {answer.json()['predictions'][0]['label'] for answer in answers} == {expected.label}
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_missing_serving_extra_is_reported(served_prefix, capsys, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert "pip install 'openatac[serve]'" in command_error(capsys, 'serve', 1, served_prefix)


def test_wrong_command_lines_are_refused(served_prefix, capsys):
    command_error(capsys, 'serve', 2)
    command_error(capsys, 'serve', 2, served_prefix, '--model', 'x')
    assert '--engine' in command_error(capsys, 'serve', 2, '--model', 'x', '--engine', 'static')
    assert '--labels' in command_error(capsys, 'serve', 2, served_prefix, '--labels', 'a,b')
    assert 'nothing' in command_error(capsys, 'serve', 1, 'nothing')
    assert '203.0.113.1' in command_error(capsys, 'serve', 1, served_prefix, '--host', '203.0.113.1')
