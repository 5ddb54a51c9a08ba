"""Exports of networks, with forms by name, and symbol files without a check."""
from openatac.export import exporter
from openatac.export.forms.base import FORMS, ExportSettings
from openatac.export.tracing import trace
from openatac.graph.symbol_files import write_symbol_files


def export(net, prefix, manifest, forms=('symbol',), calibration_images=()):
    settings = ExportSettings([FORMS.find(name) for name in forms])
    return exporter.export(net, prefix, manifest, settings, calibration_images=calibration_images)


def write_symbol(net, path):
    write_symbol_files(path, *trace(net))
