"""The forms of an export, one class each."""
from openatac.export.forms.base import register_form
from openatac.export.forms.fused import Fused
from openatac.export.forms.int8 import Int8
from openatac.export.forms.onnx import Onnx, OnnxInt8
from openatac.export.forms.symbol import Symbol

for _form in (Symbol(), Fused(), Int8(), Onnx(), OnnxInt8()):  # in the order of reports and tables
    register_form(_form)
