"""The ends of the names of an export's files, which all begin with its prefix."""

MANIFEST_SUFFIX = '.json'
SYMBOL_SUFFIX = '-symbol.json'  # the graph, as MXNet's Symbol
PARAMS_SUFFIX = '-0000.params'  # its arrays
FUSED, INT8 = '-fused', '-int8'  # come before the last two in the files of these forms
