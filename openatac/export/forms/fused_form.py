"""The fused form: symbol files with oneDNN's fused operators, for CPUs."""
from __future__ import annotations

from typing import Any

from openatac.export.forms.base import Form, Load, NetworkToWrite
from openatac.export.parity import ParityCheck
from openatac.files.export_file_names import FUSED, PARAMS_SUFFIX, SYMBOL_SUFFIX


class FusedForm(Form):
    """PREFIX-fused-symbol.json and PREFIX-fused-0000.params; see `openatac.graph.fusion`."""

    name = 'fused'
    suffixes = (FUSED + SYMBOL_SUFFIX, FUSED + PARAMS_SUFFIX)
    runtime = 'fused'
    flags = ('--fuse',)
    help = "also write OUT-fused-..., with oneDNN's fused operators, for CPUs"
    precisions = ('float32',)

    def write(self, network: NetworkToWrite, prefix: str) -> None:
        from openatac.graph.fusion import fuse
        from openatac.graph.symbol_files import write_symbol_files
        write_symbol_files(prefix + FUSED, fuse(network.symbol), network.arrays)

    def details(self, network: NetworkToWrite, prefix: str, check: ParityCheck, load: Load) -> dict[str, Any]:
        """Return the numbers of operators and BatchNorms, before and after fusion."""
        from openatac.graph.fusion import count_operators
        from openatac.graph.symbol_files import read_symbol
        before, after = map(count_operators, (network.symbol, read_symbol(self.files(prefix)[0])))
        return {'operators': [sum(before.values()), sum(after.values())],
                'batch_norms': [before['BatchNorm'], after['BatchNorm']]}

    def remarks(self, report: dict[str, Any]) -> list[str]:
        (operators, left), (norms, norms_left) = report['operators'], report['batch_norms']
        return [f'{operators} operators became {left}, {norms} BatchNorms {norms_left}',
                *super().remarks(report)]
