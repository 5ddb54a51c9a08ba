"""The estimate of a run equals closed formulas; impossible estimates are refused with one clear error."""
import json
import math
import re
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openatac.commands import plan as command
from openatac.commands.shared.catalogue import COMMANDS
from openatac.study.plan.estimate import LARGEST_LINEAR_BATCH, estimate, linear_rate, trainable_parameters
from openatac.study.plan.plan_report import estimate_text
from openatac.study.plan.step_time import (
    GB,
    GBIT,
    PlannedRun,
    all_reduce_seconds,
    ddp_exposed_seconds,
    estimate_step,
    parameter_server_seconds,
    ring_seconds,
)
from tests.helpers.paths import ROOT
from tests.helpers.processes.commands import command_error
from tests.helpers.processes.fresh_python import output_of
from tests.oracle import build, load

ATAC = 27934760  # trainable parameters of the published network
SETUP = PlannedRun(gpus=2, images_per_second=650, parameters=ATAC, bandwidth=25)
FLAGS = ['--gpus', '2', '--images-per-second', '650', '--bandwidth', '25', '--parameters', str(ATAC)]

positive = st.floats(1e-3, 1e6)
counts = st.integers(1, 300)


@st.composite
def setups(draw):
    per_machine = draw(st.integers(1, 16))
    return PlannedRun(gpus=per_machine * draw(st.integers(1, 64)), gpus_per_machine=per_machine,
                 images_per_second=draw(positive), parameters=draw(st.integers(1, 10 ** 9)),
                 bandwidth=draw(positive), device_bandwidth=draw(st.none() | positive),
                 servers=draw(st.integers(0, 64)), batch_size=draw(st.integers(1, 256)),
                 dtype=draw(st.sampled_from(['float16', 'float32'])), overlap=draw(st.floats(0, 1)))


# -------------------------------------------------------------------------- closed formulas

def test_ring_time_is_the_sum_of_its_rounds():
    """In each of 2 (n - 1) rounds, every device sends 1/n of the bytes."""
    for devices in (1, 2, 3, 8, 64):
        rounds = sum(1200 / devices / 100 for _ in range(2 * (devices - 1)))
        assert ring_seconds(1200, devices, 100) == pytest.approx(rounds)


def test_faster_of_two_level_and_flat_ring_is_chosen():
    """With 8 machines of 8 devices, two levels are faster over NVLink, one flat ring over a slow bus."""
    assert all_reduce_seconds(800, 8, 8, link=10, inside=1000) == pytest.approx(1.4 + 140)
    assert all_reduce_seconds(800, 8, 8, link=10, inside=10) == pytest.approx(2 * 63 / 64 * 80)
    assert all_reduce_seconds(800, 1, 8, link=math.inf, inside=10) == pytest.approx(140)
    assert all_reduce_seconds(800, 8, 1, link=10, inside=1) == pytest.approx(140)


@pytest.mark.parametrize('workers, servers, seconds', [
    (4, 1, 40), (4, 2, 20), (4, 4, 10), (4, 8, 10), (1, 1, 10)])
def test_parameter_server_time(workers, servers, seconds):
    """The workers' links are the bottleneck if there are at least as many servers as workers."""
    assert parameter_server_seconds(1000, workers, servers, 100) == pytest.approx(seconds)


def test_step_with_servers_sums_inside_each_machine_first():
    found = estimate_step(SETUP._replace(gpus=8, gpus_per_machine=4, servers=1, device_bandwidth=10))
    inside, across = 1.5 * 2 * ATAC / (10 * GB), 2 * 2 * ATAC / (25 * GBIT)
    assert found.communication == found.exposed == pytest.approx(inside + across)
    assert found.computing == pytest.approx(128 / 650)


def test_plan_of_the_published_run_equals_a_hand_calculation():
    """2 devices, one ring of 55.87 MB over 3.125 GB/s, 5004 steps per epoch as in the published schedule."""
    made = estimate(SETUP, price=2.5)
    seconds = 128 / 650 + 55869520 / 3.125e9
    assert (made.steps_per_epoch, made.epochs, made.run.gradient_bytes) == (5004, 160, 55869520)
    assert made.step.seconds == estimate_step(SETUP).seconds == pytest.approx(seconds)
    assert made.training_hours == pytest.approx(160 * 5004 * seconds / 3600)
    assert made.validation_hours == pytest.approx(160 * 50000 / (3 * 650 * 2) / 3600)
    assert made.hours == made.training_hours + made.validation_hours
    assert made.device_hours == 2 * made.hours and made.cost == 2.5 * made.device_hours
    assert made.efficiency == pytest.approx(128 / 650 / seconds)
    assert made.images_per_second == pytest.approx(256 / seconds)


def test_network_bandwidth_is_in_bits_and_device_bandwidth_in_bytes():
    """A network of 8 Gbit/s carries as much as 1 GB/s between devices."""
    one = SETUP._replace(bandwidth=8)
    assert estimate_step(one) == estimate_step(one._replace(bandwidth=None, device_bandwidth=1))
    assert estimate_step(one).communication == pytest.approx(55869520 / 1e9)
    assert estimate_step(one._replace(dtype='float32')).communication == 2 * estimate_step(one).communication


def test_communication_overlaps_with_the_backward_pass():
    """The requested share overlaps, but at most two thirds of the computing time."""
    computing, communication, exposed = estimate_step(SETUP._replace(overlap=0.25))
    assert exposed == pytest.approx(0.75 * communication)
    slow = estimate_step(SETUP._replace(overlap=1, bandwidth=0.1))
    assert slow.seconds == pytest.approx(slow.communication + computing / 3)
    assert estimate_step(SETUP._replace(overlap=1)).exposed == 0


@pytest.mark.parametrize('size, communication, backward', [
    (10 * 2 ** 20, 0.1, 1), (110e6, 0.1, 1), (110e6, 0.9, 1), (110e6, 5, 1), (110e6, 0, 1)])
def test_ddp_overlap_follows_its_buckets(size, communication, backward):
    """Buckets are exchanged in turn, each only after the backward pass has computed it."""
    buckets, end = math.ceil(size / (25 * 2 ** 20)), 0.0
    for bucket in range(buckets):
        end = max(end, backward * (bucket + 1) / buckets) + communication / buckets
    assert ddp_exposed_seconds(size, communication, backward) == pytest.approx(end - backward)


def test_ddp_step_lies_between_full_and_no_overlap():
    setup = SETUP._replace(dtype='float32')
    none, ddp, hidden = (estimate_step(setup._replace(**how))
                         for how in ({}, {'ddp': True}, {'overlap': 1.0}))
    assert hidden.seconds < ddp.seconds < none.seconds
    assert ddp.exposed == pytest.approx(ddp.communication / 5)  # 112 MB make five buckets


# ---------------------------------------------------- limits and monotonicity for any setup

@given(setups())
def test_single_device_does_not_communicate(setup):
    alone = setup._replace(gpus=1, gpus_per_machine=None, servers=0, bandwidth=None, device_bandwidth=None)
    assert estimate_step(alone).communication == 0 and estimate(alone).efficiency == 1


@given(setups())
def test_without_limits_the_speed_is_ideal(setup):
    made = estimate(setup._replace(bandwidth=math.inf, device_bandwidth=None, batch_size=1))
    assert made.efficiency == 1
    assert made.images_per_second == pytest.approx(setup.gpus * setup.images_per_second)


@given(setups(), positive)
def test_more_bandwidth_overlap_or_servers_never_slow_a_step(setup, more):
    before = estimate_step(setup).seconds * (1 + 1e-12)
    assert estimate_step(setup._replace(bandwidth=setup.bandwidth + more)).seconds <= before
    assert estimate_step(setup._replace(overlap=min(1, setup.overlap + more))).seconds <= before
    faster = (setup.device_bandwidth or setup.bandwidth / 8) + more
    assert estimate_step(setup._replace(device_bandwidth=faster)).seconds <= before
    if setup.servers:
        assert estimate_step(setup._replace(servers=setup.servers + 1)).seconds <= before


@given(setups())
def test_step_lies_within_its_bounds(setup):
    found = estimate_step(setup)
    ideal, serial = found.computing, found.computing + found.communication
    assert ideal * (1 - 1e-12) <= found.seconds <= serial * (1 + 1e-12)
    # Nothing overlaps with the forward pass.
    assert found.seconds >= (found.communication + ideal / 3) * (1 - 1e-12)


@settings(deadline=None)
@given(setups(), st.integers(1, 50), st.integers(1, 50), st.integers(2, 5))
def test_time_is_proportional_to_epochs_and_images(setup, epochs, steps, times):
    once = estimate(setup, epochs, steps * setup.global_batch, 1000)
    for more in (estimate(setup, times * epochs, steps * setup.global_batch, 1000),
                 estimate(setup, epochs, times * steps * setup.global_batch, times * 1000)):
        assert more.hours == pytest.approx(times * once.hours)
        assert more.device_hours == pytest.approx(times * once.device_hours)
        assert (more.efficiency, more.images_per_second) == (once.efficiency, once.images_per_second)


@given(counts, positive, positive)
def test_ring_sends_less_than_twice_its_bytes(devices, size, bandwidth):
    once = size / bandwidth
    seconds = ring_seconds(size, devices, bandwidth)
    assert (0 if devices == 1 else once * (1 - 1e-12)) <= seconds < 2 * once


# ------------------------------------------------------------------------------ the network

@pytest.mark.parametrize('name, act_layers', [('resnet50_v1b_atac', 2), ('ResNet50_v1b_relu', 0)])
def test_trained_parameters_equal_the_oracle(name, act_layers):
    rows = json.loads((ROOT / 'tests' / 'oracle' / 'costs.json').read_text())['rows']
    expected, = [row['trainable'] for row in rows if (row['net'], row.get('act_layers'), row['r']) == (
        'imagenet', act_layers, 2)]
    assert trainable_parameters(name) == expected
    assert act_layers == 0 or expected == ATAC


def test_trainable_parameters_are_those_with_a_gradient_in_the_oracle():
    import mxnet as mx

    from openatac.study.costs.gluon_costs import costs
    case, _ = load('imagenet_1111_atac2')
    net = build(case)
    net.initialize()
    net.infer_shape(mx.nd.zeros(case['input_shape']))
    assert costs(net, case['input_shape'][1:]).trainable == sum(
        math.prod(shape) for _, shape, grad_req in case['parameters'] if grad_req != 'null')


# ------------------------------------------------------------------------------ the command

def test_report_lists_the_plan(capsys):
    assert command.main([*FLAGS, '--price', '2']) == 0
    text = capsys.readouterr().out
    assert text == estimate_text(estimate(SETUP, price=2)) + '\n'
    for number in ('55.87', '27,934,760', '214.8', '196.9', '17.9', '1192', '0.917', '5004', '3.125', '48.34',
                   '47.77', '0.57', '193.37'):
        assert number in text
    assert 'Warning' not in text and '--lr' not in text


@pytest.mark.parametrize('gpus, rate', [(1, '0.0375'), (4, '0.15'), (64, '2.4'), (128, '4.8')])
def test_changed_batch_size_warns_about_the_learning_rate(gpus, rate):
    text = estimate_text(estimate(SETUP._replace(gpus=gpus)))
    assert re.search(rf'Warning.* 0\.075 .*\b256 .*\n--lr {re.escape(rate)},', text)
    assert (str(LARGEST_LINEAR_BATCH) in text.partition('--lr ')[2]) == (gpus == 128)
    assert ('Beyond' in text) == (gpus == 128)
    assert linear_rate(256) == 0.075


def test_every_setup_has_a_description():
    servers = estimate_text(estimate(SETUP._replace(gpus=8, gpus_per_machine=4, servers=2, overlap=0.5)))
    assert all(words in servers for words in ('8 in 2 machines', '2 parameter', '0.5 of'))
    assert '--device-bandwidth' in servers
    alone = estimate_text(estimate(SETUP._replace(gpus=1, bandwidth=None)))
    assert '1 in 1 machine' in alone and '--device-bandwidth' not in alone


def test_gradients_of_ddp_are_float32(capsys):
    assert command.main([*FLAGS, '--ddp']) == 0
    text = capsys.readouterr().out
    assert text == estimate_text(estimate(SETUP._replace(ddp=True, dtype='float32'))) + '\n'
    assert '111.74 MB' in text and '25 MiB' in text


def test_count_of_parameters_needs_no_mxnet():
    assert output_of('import contextlib, io, sys\nfrom openatac.commands import plan\n'
                     f'with contextlib.redirect_stdout(io.StringIO()):\n    plan.main({FLAGS!r})\n'
                     'print("mxnet" in sys.modules)') == 'False'


def refused(flags, capsys):
    return command_error(capsys, 'plan', 2, *flags)


@pytest.mark.parametrize('flags, words', [
    (['--gpus', '0'], '--gpus: 0 '),
    (['--gpus', '2.5'], "--gpus: '2.5' "),
    (['--bandwidth', '-25'], '--bandwidth: -25 '),
    (['--bandwidth', 'inf'], '--bandwidth: inf '),
    (['--images-per-second', '0'], '--images-per-second: 0 '),
    (['--images-per-second', 'nan'], '--images-per-second: nan '),
    (['--device-bandwidth', '0'], '--device-bandwidth'),
    (['--servers', '-1'], '--servers: -1 '),
    (['--overlap', '1.1'], '--overlap: 1.1 '),
    (['--dtype', 'int8'], "'int8'"),
    (['--price', '-1'], '--price'), (['--parameters', '0'], '--parameters'), (['--epochs', '0'], '--epochs'),
    (['--batch-size', '9' * 5000], '--batch-size'),
    (['--gpus', '10', '--gpus-per-machine', '4'], '--gpus 10 '),
    (['--gpus-per-machine', '4'], '--gpus 2 '),
    (['--images', '255'], '--images 255 '),
    (['--gpu', '4'], '--gpu 4'),
    (['--ddp', '--servers', '2'], '--servers'), (['--ddp', '--overlap', '0.5'], '--overlap'),
])
def test_impossible_plans_are_refused(flags, words, capsys):
    assert words in refused(FLAGS + flags, capsys)


@pytest.mark.parametrize('model, words', [
    ('resnet50_v1b_atak', 'resnet50_v1b_atac'),
    ('cifar_resnet20_v2_atac', 'cifar_resnet20_v2_atac')])
def test_unknown_model_names_the_nearest(model, words, capsys):
    assert words in refused([*FLAGS[:6], '--model', model], capsys)


@pytest.mark.parametrize('flags', [['--gpus', '2'], ['--gpus', '2', '--gpus-per-machine', '1',
                                   '--device-bandwidth', '5'], ['--gpus', '1', '--servers', '1']])
def test_missing_bandwidth_is_refused(flags, capsys):
    assert '--bandwidth' in refused(flags + FLAGS[2:4] + FLAGS[6:], capsys)


def test_inconsistent_setup_is_refused():
    with pytest.raises(ValueError, match='--gpus-per-machine 3'):
        estimate_step(SETUP._replace(gpus_per_machine=3))
    with pytest.raises(ValueError, match='--bandwidth'):
        estimate_step(SETUP._replace(bandwidth=None))


@pytest.mark.parametrize('example', COMMANDS['plan'].examples)
def test_examples_of_the_help_run(example, capsys):
    assert command.main(shlex.split(example)) == 0 and capsys.readouterr().out
