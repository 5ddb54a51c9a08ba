"""Serve a trained network over HTTP: a JSON endpoint, and a page to drop images on.

EXPORT is the common prefix of an export's files, or one of those files to run that form. POST /predict takes
the bytes of an image and returns its most probable classes; images that arrive at the same time run as one
batch. The page / shows the classes, and GET /health reports whether the server is up. If the export has a
symbol form and MXNet is installed, the page and /predict?gates=true also show how much each unit's gates let
through.

The server listens on this machine only, unless --host names another address, and has no authentication. On
SIGTERM or Ctrl-C it answers pending requests and stops.
"""
from __future__ import annotations

import argparse
import contextlib
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

from openatac.commands.shared.catalogue import command_parser
from openatac.commands.shared.labels_flag import add_labels, with_labels
from openatac.commands.shared.trained_network_flags import add_engine, add_model
from openatac.data.batch_sizes import INFERENCE_BATCH
from openatac.errors import FlagError, OpenatacError, UsageError
from openatac.export.forms.base import prefix_of
from openatac.export.forms.symbol_form import SymbolForm
from openatac.files.reading import MEGABYTE
from openatac.limits import MAX_PORT
from openatac.options.command_line import naming
from openatac.options.flag_types import BATCH_SIZE, number
from openatac.serving.request_limits import LIMITS, Limits
from openatac.system.installed import has_mxnet
from openatac.system.optional_packages import pip_install

MAX_MEGAPIXELS = 178  # Pillow refuses larger images

if TYPE_CHECKING:
    import numpy as np

    from openatac.inference.gate_maps import GateMap


def main(argv: list[str]) -> int:
    """Run ``openatac serve``; see the module."""
    p = _parser()
    args = p.parse_args(argv)
    if bool(args.export) == bool(args.model):
        raise UsageError('give either an EXPORT or --model')
    if args.model and args.engine:
        raise FlagError('--engine', 'it is for an export; leave out --model')
    if not all(map(importlib.util.find_spec, ('fastapi', 'uvicorn'))):
        raise OpenatacError(f'the server needs FastAPI and uvicorn: run {pip_install("fastapi")}')
    from openatac.inference.predictor import load
    from openatac.serving.app import create_app
    from openatac.serving.classifier import Classifier
    from openatac.serving.server import serve
    with naming('--engine'):  # one that runs exports, for a run
        predictor = load(args.export or args.model, args.engine or 'auto', batch_size=args.batch_size)
    predictor = predictor.with_manifest(with_labels(args.labels, predictor.manifest))
    classifier = Classifier(predictor, _find_gates(args.export), Limits(
        round(args.max_megabytes * MEGABYTE), round(args.max_megapixels * 1e6), args.timeout,
        args.max_requests))
    serve(create_app(classifier), args.host, args.port, args.timeout,
          lambda url: print(f'serving {args.export or args.model} at {url} (Ctrl-C stops it)', flush=True))
    return 0


def _find_gates(export: str | None) -> Callable[[np.ndarray], list[GateMap]] | None:
    """Return a function that computes gate maps; None for a run, or without MXNet, symbol form or gates."""
    if not export or SymbolForm().missing(prefix_of(export)) or not has_mxnet():
        return None
    from openatac.inference.gate_maps import open_gates
    with contextlib.suppress(OpenatacError):
        return open_gates(prefix_of(export))
    return None


def _parser() -> argparse.ArgumentParser:
    p = command_parser('serve', __doc__)
    p.add_argument('export', metavar='EXPORT', nargs='?', help='an export, or one of its files')
    add_model(p)
    add_engine(p, 'the fastest that is installed')
    add_labels(p)
    p.add_argument('--host', default='127.0.0.1', metavar='ADDRESS',
                   help='address to listen on; 0.0.0.0 means all of this machine (default: %(default)s)')
    p.add_argument('--port', type=number(int, low=0, high=MAX_PORT), default=8000,
                   help='port to listen on; 0 takes a free one (default: %(default)s)')
    p.add_argument('--batch-size', type=BATCH_SIZE, default=INFERENCE_BATCH, metavar='N',
                   help='largest number of images to run at a time (default: %(default)s)')
    _add_limits(p.add_argument_group('limits of a request'))
    return p


def _add_limits(group: argparse._ArgumentGroup) -> None:
    group.add_argument('--max-megabytes', type=number(float, above=0, high=512), metavar='N',
                       default=LIMITS.bytes / MEGABYTE, help='size of the file (default: %(default)g)')
    group.add_argument('--max-megapixels', type=number(float, above=0, high=MAX_MEGAPIXELS), metavar='N',
                       default=LIMITS.pixels / 1e6,
                       help='size of the image, in millions of pixels (default: %(default)g)')
    group.add_argument('--max-requests', type=number(int, low=1, high=10000), metavar='N',
                       default=LIMITS.requests,
                       help='requests served at the same time; others are refused (default: %(default)s)')
    group.add_argument('--timeout', type=number(float, above=0, high=3600), metavar='SECONDS',
                       default=LIMITS.seconds, help='time allowed for the answer (default: %(default)g)')
