"""Pickles that contain code, in all protocols and with all calling opcodes, or need much memory."""

import io
import os
import pickle
import struct

import numpy as np

from tests.miniature import Exploit
from tests.mutated.format import TRACE


class Evaluated:
    """Unpickling an instance would evaluate a text."""

    def __reduce__(self):
        return (eval, (f"__import__('os').mkdir({TRACE!r})",))


class _Persistent(pickle.Pickler):
    def persistent_id(self, obj):
        return ("storage", os.mkdir, TRACE) if isinstance(obj, Exploit) else None


def pickles():
    """Yields names and contents."""
    array = np.array([[Exploit(TRACE)]], dtype=object)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield f"code, protocol {protocol}", pickle.dumps(Exploit(TRACE), protocol)
        yield f"eval, protocol {protocol}", pickle.dumps({"state_dict": Evaluated()}, protocol)
        yield f"object array, protocol {protocol}", pickle.dumps(array, protocol)
        yield f"persistent, protocol {protocol}", _persistent(protocol)
    yield "plain values", pickle.dumps({"a": [1, 2.5, None, {"b"}, frozenset(), b"", 10**400]})
    yield from _opcodes()
    yield from _hungry()


def _persistent(protocol):
    file = io.BytesIO()
    _Persistent(file, protocol).dump({"x": Exploit(TRACE)} if protocol else {"x": [Exploit]})
    return file.getvalue()


def _opcodes():
    trace = TRACE.encode()
    for module, name in (
        ("os", "mkdir"),
        ("posix", "mkdir"),
        ("builtins", "getattr"),
        ("numpy", "load"),
        ("numpy", "os.mkdir"),
        ("numpy.core.multiarray", "scalar.__self__"),
        ("numpy", "ndarray.__init__.__globals__"),
    ):
        yield (
            f"stack global {name}",
            b"\x80\x04" + _text(module) + _text(name) + b"\x93" + _text(TRACE) + b"\x85R.",
        )
    yield "inst", b"(S'" + trace + b"'\nios\nmkdir\n."
    yield "obj", b"(cos\nmkdir\nS'" + trace + b"'\no."
    yield "newobj", b"\x80\x02cos\nmkdir\nU\x05" + trace + b"\x85\x81."
    yield "newobj ex", b"\x80\x04cos\nmkdir\n" + _text(TRACE) + b"\x85}\x92."
    yield "extension", b"\x80\x02\x82\x01."
    yield "persistent text", b"Pos.mkdir\n."
    yield (
        "state of a function",
        b"\x80\x02cnumpy._core.numeric\n_frombuffer\nN}X\x08\x00\x00\x00__code__Ns\x86b.",
    )
    yield "state of a class", b"\x80\x02cnumpy\nndarray\nN}X\x04\x00\x00\x00nameK\x01s\x86b."
    yield "codec", b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x05\x00\x00\x00rot13\x86R."
    yield "dtype with false flags", _false_flags()
    yield "memory as it is", b"\x80\x02cnumpy\nndarray\nK\x06K\x05\x86U\x02f8\x86R."


def _hungry():
    yield (
        "much memory as it is",
        b"\x80\x02cnumpy\nndarray\nK\x06J\x00\x00\x00\x08\x86U\x02f8\x86R.",
    )
    yield "high memo", b"\x80\x02Nr\x00\x00\x00\x10."
    yield "high memo as text", b"Np99999999\n."
    yield "deep", b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."
    yield "wide", b"\x80\x02](" + b"(22222222t" * 40 + b"."
    yield "long bytes", b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"."


class _WithState:
    """Pickled as a call with the given arguments, followed by the given state."""

    def __init__(self, call, arguments, state):
        self.parts = (call, arguments, state)

    def __reduce__(self):
        return self.parts


def _false_flags():
    """An object array whose dtype claims to hold plain bytes: NumPy would use them as pointers."""
    has_references = 1  # without the flag that objects are pickled one by one
    state = (3, "|", None, None, None, -1, -1, has_references)
    dtype = _WithState(np.dtype, ("O8", False, True), state)
    array = _WithState(*np.zeros(1).__reduce__()[:2], (1, (6, 5), dtype, False, b"A" * 240))
    return pickle.dumps(array, 2)


def _text(text):
    return b"\x8c" + bytes([len(text)]) + text.encode()
