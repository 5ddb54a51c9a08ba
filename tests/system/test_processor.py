"""The instruction set, from the processor's flags and the variable that limits oneDNN."""
import os

import pytest

from openatac.system.processor import CAP, instruction_set, int8_line

ZEN3 = 'fpu sse4_1 avx avx2 fma'
CASES = [
    ('fpu sse4_1', '', 'SSE4.1'), (ZEN3, '', 'AVX2'), (ZEN3 + ' avx_vnni', '', 'AVX-VNNI'),
    (ZEN3 + ' avx512f avx512bw', '', 'AVX-512'),
    (ZEN3 + ' avx512f avx512bw avx512_vnni', '', 'AVX-512 VNNI'),
    (ZEN3 + ' avx512f avx512bw avx512_vnni', 'ALL', 'AVX-512 VNNI'),
    (ZEN3 + ' avx512f avx512bw avx512_vnni', 'AVX512_CORE_AMX', 'AVX-512 VNNI'),
    (ZEN3 + ' avx512f avx512bw avx512_vnni', 'AVX512_CORE', 'AVX-512'),
    (ZEN3 + ' avx512f avx512bw avx512_vnni', 'avx2', 'AVX2'),
    (ZEN3, 'AVX512_CORE_VNNI', 'AVX2'), (ZEN3, 'SSE41', 'SSE4.1'), ('fpu', '', None),
]


@pytest.mark.parametrize('flags, cap, expected', CASES)
def test_best_available_and_allowed_instruction_set_is_used(flags, cap, expected, tmp_path, monkeypatch):
    cpuinfo = tmp_path / 'cpuinfo'
    cpuinfo.write_text(f'processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: fpu\n')
    monkeypatch.setenv(CAP, cap)
    assert instruction_set(str(cpuinfo)) == expected
    line = int8_line(str(cpuinfo))
    assert '\n' not in line and (expected or 'unknown') in line
    assert ('no VNNI' in line) == (expected is not None and 'VNNI' not in expected)
    assert cap in line or expected is None


@pytest.mark.parametrize('content', [None, '', 'Features : neon\n'])
def test_unknown_processor_has_no_instruction_set(content, tmp_path):
    if content is not None:
        (tmp_path / 'cpuinfo').write_text(content)
    assert instruction_set(os.fspath(tmp_path / 'cpuinfo')) is None
