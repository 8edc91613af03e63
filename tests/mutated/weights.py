"""Weights of backbones, and checkpoints."""

import copy
import io
import json
import re
import struct
from unittest.mock import patch

import numpy as np
import timm
import torch
from safetensors.torch import save
from torch import nn

from msdn_lit.models.backbones.backbone import RegionBackbone
from msdn_lit.runs.checkpoint import load_checkpoint
from tests.miniature import Exploit
from tests.mutated.format import TRACE, is_array, of_one_file
from tests.mutated.pickles import pickles
from tests.mutated.tables import zip_bomb, zipped

OLD = {"_use_new_zipfile_serialization": False}


def formats(folder):
    torch.manual_seed(0)
    backbone = timm.create_model("resnet10t", features_only=True, out_indices=(0,))
    state = backbone.state_dict()

    def read_weights(path):
        with patch.object(timm, "create_model", lambda *args, **options: copy.deepcopy(backbone)):
            model = RegionBackbone(
                "resnet10t", weights_file=str(path), pretrained=False, stage=0
            ).model
        return {name: value.numpy() for name, value in model.state_dict().items()}

    def read_checkpoint(path):
        module = nn.Linear(3, 2)
        module.load_state_dict(load_checkpoint(path, module)["state_dict"])
        return {name: value.numpy() for name, value in module.state_dict().items()}

    hostile = [*((name, packed(content)) for name, content in _states(state)), *_pickles()]
    yield of_one_file("x.pth", packed(state), read_weights, _is_like(state), hostile)
    hostile = [(name, packed(content, **OLD)) for name, content in _states(state)]
    yield of_one_file(
        "old.pth", _packed_in_old_format(state), read_weights, _is_like(state), hostile
    )
    safe = save(state)
    yield of_one_file("x.safetensors", safe, read_weights, _is_like(state), _safetensors(safe))
    linear = nn.Linear(3, 2).state_dict()
    hostile = [*_checkpoints(linear), *_pickles()]
    yield of_one_file(
        "x.ckpt", packed(_checkpoint(linear)), read_checkpoint, _is_like(linear), hostile
    )


def packed(content, **options):
    """Returns the file that torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def _packed_in_old_format(state):
    """Returns a file in the old format, always of the same bytes.

    PyTorch sorts its storages by memory address, so all tensors share one storage here.
    """
    floats = {name: value for name, value in state.items() if value.is_floating_point()}
    parts = torch.cat([value.flatten() for value in floats.values()]).split(
        [value.numel() for value in floats.values()]
    )
    data = packed(
        {name: part.view(floats[name].shape) for name, part in zip(floats, parts, strict=True)},
        **OLD,
    )
    return re.sub(rb"X[\x0e\x0f]\0\0\0\d{14,15}", b"X\x0e\0\0\x0010000000000000", data)


def _is_like(state):
    def check(value):
        expected = {name: (tensor.numpy().dtype, tensor.shape) for name, tensor in state.items()}
        return value.keys() == expected.keys() and all(
            is_array(value[name], *expected[name]) for name in expected
        )

    return check


def _states(state):
    """Yields weights of other kinds, or with values that are not finite."""
    first = next(iter(state))
    value = state[first]
    for other in (
        1,
        None,
        "x",
        [1.0],
        value.double() * 1e300,
        value * torch.nan,
        value.long(),
        value > 0,
        value.half(),
        value.to(torch.complex64),
        value.to_sparse(),
        value.to("meta"),
        value.transpose(0, 1),
        nn.Parameter(value),
        torch.ones(1).expand(10**6, 10**6),
        torch.ones(1).expand(value.shape),
    ):
        yield f"value {type(other).__name__} {getattr(other, 'dtype', '')}", state | {first: other}
    for whole in (
        1,
        None,
        "x",
        [state],
        torch.ones(3),
        {},
        {1: torch.ones(1)},
        state | {None: 1},
        state | {("a",): 1},
    ):
        yield f"whole {type(whole).__name__}", whole
    yield "module", nn.Linear(1, 1)
    yield "array", state | {first: np.ones(3)}
    yield "code", state | {"x": Exploit(TRACE)}


def _pickles():
    for name, data in pickles():
        yield f"pickle {name}", data
        yield (
            f"zipped pickle {name}",
            zipped({"x/data.pkl": data, "x/version": b"3\n", "x/byteorder": b"little"}, 0),
        )


def _checkpoint(state):
    """Returns a checkpoint like Lightning's."""
    return {
        "epoch": 1,
        "global_step": 12,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"RandomState": {"numpy": [1, 2], "torch": torch.zeros(9, dtype=torch.uint8)}},
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}
        ],
    }


def _checkpoints(state):
    yield "old format", packed(_checkpoint(state), **OLD)
    yield "code in a callback", packed(_checkpoint(state) | {"callbacks": {"x": Exploit(TRACE)}})
    yield "bomb", zip_bomb({"x/data.pkl": packed(_checkpoint(state))}, "x/data/0", b"", 300)
    for name, content in _states(state):
        yield f"{name} as state_dict", packed(_checkpoint(content))
        yield f"{name} as checkpoint", packed(content)


def _safetensors(intact):
    """Yields files with false headers."""
    (length,) = struct.unpack("<Q", intact[:8])
    header, data = json.loads(intact[8 : 8 + length]), intact[8 + length :]
    first = min(header.keys() - {"__metadata__"})
    for change in (
        *[{"dtype": dtype} for dtype in ("I64", "BF16", "X", "F8_E4M3", "BOOL", "C64", None)],
        *[
            {"shape": shape}
            for shape in ([2**63], [-1], [2**32, 2**32], [], None, [0], [1.5], ["a"])
        ],
        *[{"data_offsets": offsets} for offsets in ([0, 2**63], [8, 0], [0], [0, 4], None)],
        {"extra": 1},
    ):
        yield (
            f"{change}",
            _with_header(json.dumps(header | {first: header[first] | change}).encode(), data),
        )
    for text in (
        b"",
        b"{}",
        b"[]",
        b"null",
        b"[" * 9999,
        b'{"a":' * 9999,
        b'{"__metadata__": {"a": 1}}',
        b"\xff",
    ):
        yield f"header {text[:9]!r}", _with_header(text, data)
    for number in (0, 2**63, 2**64 - 1, 10**8, len(intact)):
        yield f"length {number}", struct.pack("<Q", number) + intact[8:]


def _with_header(text, data):
    return struct.pack("<Q", len(text)) + text + data
