"""The forms of an export, one class each."""
from openatac.export.forms.base import register_form
from openatac.export.forms.fused_form import FusedForm
from openatac.export.forms.int8_form import Int8Form
from openatac.export.forms.onnx_forms import OnnxForm, OnnxInt8Form
from openatac.export.forms.symbol_form import SymbolForm

for _form in (SymbolForm(), FusedForm(), Int8Form(), OnnxForm(), OnnxInt8Form()):  # the order in tables
    register_form(_form)
