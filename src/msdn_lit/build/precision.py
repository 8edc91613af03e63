"""Precisions of training and extraction: which are allowed, which are fast on this machine."""

import logging
import platform
from functools import cache
from typing import Any

import torch
from omegaconf import DictConfig

from msdn_lit.data.features.extraction import PRECISIONS
from msdn_lit.errors import ConfigError

log = logging.getLogger(__name__)

AUTO = "auto"
FLOAT32_SETTINGS = ("matmul_precision", "convolution_tf32")  # keys of the config's trainer
_MATMUL = ("highest", "high", "medium")
_TRAINING = {"32-true": "fp32", "bf16-mixed": "bf16", "16-mixed": "fp16"}
_SHORT = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}  # as Lightning reads them


def is_fast(precision: str, device: str) -> bool:
    """Whether the processor computes in a precision, and does not emulate it.

    Args:
        precision: "fp32", "bf16" or "fp16".
        device: "cpu", or the type of another device.
    """
    if precision == "fp32" or device not in ("cpu", "cuda"):
        return True
    if device == "cuda":
        return precision == "fp16" or torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "fp16":
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    if platform.machine().lower() in ("x86_64", "amd64"):  # mkldnn also emulates it with AVX-512
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, bool)() for name in names)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def features_precision(cfg: DictConfig, device: str) -> str:
    """Returns the precision of an extraction; "auto" is fp16 on a GPU, bf16 on a CPU that has it.

    A precision that is emulated is warned of.

    Raises:
        ConfigError: There is no such precision.
    """
    precision = str(cfg.features.precision)
    if precision not in (AUTO, *PRECISIONS):
        expected = "one of " + ", ".join((AUTO, *PRECISIONS))
        raise ConfigError("features.precision is wrong", expected=expected, found=precision)
    if precision == AUTO:
        wanted = "fp16" if device == "cuda" else "bf16"
        return wanted if device in ("cpu", "cuda") and is_fast(wanted, device) else "fp32"
    if not is_fast(precision, device):
        _warn(f"features.precision={precision}", "features.precision=auto")
    return precision


def training_precision(trainer: DictConfig) -> str:
    """Returns the precision of a training; "auto" is bf16-mixed where it is fast, else 32-true.

    A precision that is emulated is warned of.

    Raises:
        ConfigError: There is no such precision, or the device does not have it.
    """
    precision, device = str(trainer.precision), _device(trainer.accelerator)
    precision = _SHORT.get(precision, precision)
    if precision not in (AUTO, *_TRAINING):
        expected = "one of " + ", ".join((AUTO, *_TRAINING))
        raise ConfigError("trainer.precision is wrong", expected=expected, found=precision)
    if precision == AUTO:
        is_chosen = device in ("cpu", "cuda") and is_fast("bf16", device)
        return "bf16-mixed" if is_chosen else "32-true"
    if precision == "16-mixed" and device == "cpu":
        problem = "trainer.precision=16-mixed needs a GPU"
        raise ConfigError(problem, action="Use trainer.precision=auto.")
    if not is_fast(_TRAINING[precision], device):
        _warn(f"trainer.precision={precision}", "trainer.precision=auto")
    return precision


def evaluation_precision(trainer: DictConfig, accelerator: str) -> str:
    """Returns the precision of a run for its evaluation; 32-true if the device does not have it."""
    precision, device = str(trainer.precision), _device(accelerator)
    precision = _SHORT.get(precision, precision)
    if precision == "16-mixed" and device == "cpu":
        return "32-true"
    if not is_fast(_TRAINING.get(precision, "fp32"), device):
        _warn(f"The run's trainer.precision={precision}")
    return precision


def set_float32_precision(trainer: DictConfig) -> None:
    """Sets whether a GPU may compute products and convolutions of fp32 tensors in TF32.

    A config of an earlier version has neither setting; its runs had PyTorch's defaults.

    Raises:
        ConfigError: A setting is not valid.
    """
    matmul = trainer.get("matmul_precision", _MATMUL[0])
    tf32 = trainer.get("convolution_tf32", True)
    if matmul not in _MATMUL:
        expected = "one of " + ", ".join(_MATMUL)
        raise ConfigError("trainer.matmul_precision is wrong", expected=expected, found=matmul)
    if not isinstance(tf32, bool):
        expected = "true or false"
        raise ConfigError("trainer.convolution_tf32 is wrong", expected=expected, found=tf32)
    torch.set_float32_matmul_precision(matmul)
    cudnn: Any = torch.backends.cudnn
    if hasattr(cudnn, "conv"):
        cudnn.conv.fp32_precision = "tf32" if tf32 else "ieee"
    else:  # before torch 2.9
        cudnn.allow_tf32 = tf32


def _device(accelerator: str) -> str:
    """Returns the type of the device that an accelerator of Lightning chooses."""
    if accelerator in ("gpu", "cuda") or (accelerator == AUTO and torch.cuda.is_available()):
        return "cuda"
    return "cpu" if accelerator in ("cpu", AUTO) else accelerator


@cache  # once in a process
def _warn(setting: str, remedy: str = "") -> None:
    hint = f" Use {remedy}." if remedy else ""
    log.warning("%s is emulated here and can be 10 times slower than fp32.%s", setting, hint)
