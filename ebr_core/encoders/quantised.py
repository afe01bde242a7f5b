"""Encoders that compute in 8-bit integers on a CPU: the matrices of a model, by ONNX Runtime."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ebr_core.encoders.model_folder import EXTRA
from ebr_core.encoders.pretrained import TextEncoder, finish, pool
from ebr_core.encoders.text_vectors import Embed
from ebr_core.errors import InputError
from ebr_core.lazy_torch import torch

if TYPE_CHECKING:
    from torch import Tensor

_OPSET = 17
_AXES = {0: "text", 1: "token"}


def embedder(encoder: TextEncoder) -> Embed | None:
    """What computes with the encoder's weights in its precision; None: its own module.

    The vector of a text in int8 depends slightly on the batch around it, because activations are scaled batch by batch.
    Raises InputError if the encoder cannot be exported, or if int8 is asked of another device than a CPU.
    """
    if encoder.config.precision != "int8":
        return None
    if encoder.device.type != "cpu":
        raise InputError(
            f"precision: int8 is computed on CPUs, and device is {encoder.device.type}; set device: cpu, or precision: "
            "bfloat16"
        )
    session = _session(encoder)

    def embed(ids: Tensor, mask: Tensor) -> Tensor:
        [hidden] = session.run(None, {"ids": ids.numpy(), "mask": mask.numpy()})
        return finish(pool(torch.from_numpy(hidden), mask, encoder.folder.pooling), encoder.dimensions)

    return embed


def _session(encoder: TextEncoder) -> Any:
    """A session of ONNX Runtime, in the calling thread alone, over the model with matrices of 8-bit integers."""
    try:
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise InputError(f"precision: int8 needs the extra `encoders`: {EXTRA} ({error})") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory(prefix="ebr-int8-") as scratch, _quiet():
        plain, small = Path(scratch) / "plain.onnx", Path(scratch) / "int8.onnx"
        try:
            _export(encoder.module, plain)
            quantize_dynamic(
                plain, small, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
            )
            return onnxruntime.InferenceSession(str(small), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the exporter has a dozen for models that it cannot trace
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{encoder.config.model}: cannot be computed in int8: {reason}. Set precision: float32"
            ) from error


def _export(module: torch.nn.Module, path: Path) -> None:
    """Write the module in the format of ONNX, for texts of any number and length."""
    set_attention = getattr(module, "set_attn_implementation", None)
    if set_attention is not None:
        set_attention("eager")  # the one that the exporter can trace
    ids, mask = torch.ones(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long)
    mask[1, 5:] = 0
    torch.onnx.export(
        _hidden_only(module).eval(),
        (ids, mask),
        str(path),
        input_names=["ids", "mask"],
        output_names=["hidden"],
        dynamic_axes={"ids": _AXES, "mask": _AXES, "hidden": _AXES},
        opset_version=_OPSET,
        dynamo=False,
    )


def _hidden_only(module: torch.nn.Module) -> torch.nn.Module:
    """The module with the vectors of the tokens (n, T, W) as its only output, which is what is exported."""

    class Hidden(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            hidden: Tensor = self.module(input_ids=ids, attention_mask=mask).last_hidden_state
            return hidden

    return Hidden()


@contextlib.contextmanager
def _quiet() -> Any:
    """While the block runs, the exporter and the quantiser neither warn nor log."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
