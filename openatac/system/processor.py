"""Name this processor, detect its instruction set, and predict the speed of INT8 on it."""
from __future__ import annotations

import os
import platform

CAP = 'DNNL_MAX_CPU_ISA'  # the environment variable that limits oneDNN's instructions in MXNet

# Weakest first: oneDNN's name, the flag in /proc/cpuinfo, and the common name.
LEVELS = (
    ('SSE41', 'sse4_1', 'SSE4.1'),
    ('AVX', 'avx', 'AVX'),
    ('AVX2', 'avx2', 'AVX2'),
    ('AVX2_VNNI', 'avx_vnni', 'AVX-VNNI'),
    ('AVX512_CORE', 'avx512bw', 'AVX-512'),
    ('AVX512_CORE_VNNI', 'avx512_vnni', 'AVX-512 VNNI'),
)


def instruction_set(cpuinfo: str = '/proc/cpuinfo') -> str | None:
    """Return the best of `LEVELS` that the processor has and DNNL_MAX_CPU_ISA allows; None if unknown."""
    flags = _flags(cpuinfo)
    names = [name for name, _, _ in LEVELS]
    cap = os.environ.get(CAP, '').upper()
    allowed = LEVELS[:names.index(cap) + 1] if cap in names else LEVELS
    return next((label for _, flag, label in reversed(allowed) if flag in flags), None)


def int8_line(cpuinfo: str = '/proc/cpuinfo') -> str:
    """Return one line about the processor's instructions and their effect on INT8."""
    instructions = instruction_set(cpuinfo)
    if instructions is None:
        return 'INT8: the instructions of this processor are unknown; compare the speeds with openatac bench'
    cap = f' (with {CAP}={os.environ[CAP]}, which only MXNet follows)' if os.environ.get(CAP) else ''
    if 'VNNI' in instructions:
        return f'INT8: this processor has {instructions}{cap}, which makes INT8 fast'
    return (f'INT8: this processor has {instructions}{cap} but no VNNI: the accuracy is about the same, but '
            'do not expect INT8 to be much faster than float32')


def processor_name() -> str:
    """Return the processor's model, or the machine's type where the system does not name it."""
    return _first('model name', '/proc/cpuinfo') or platform.machine()


def _flags(cpuinfo: str) -> set[str]:
    return set(_first('flags', cpuinfo).split())


def _first(key: str, cpuinfo: str) -> str:
    """Return the text of the first line with the key; '' if there is none."""
    try:
        with open(cpuinfo, encoding='utf-8') as handle:
            return next((line.split(':')[1].strip() for line in handle if line.startswith(key)), '')
    except OSError:
        return ''
