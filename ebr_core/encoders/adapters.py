"""Adapters of low rank beside the linear layers of an encoder, by peft. [Hu et al. 2021]"""

from __future__ import annotations

import warnings

from ebr_core.encoders.lora_config import Lora
from ebr_core.encoders.model_folder import EXTRA
from ebr_core.encoders.pretrained import TextEncoder
from ebr_core.errors import InputError
from ebr_core.lazy_torch import torch


def add_adapters(encoder: TextEncoder, lora: Lora, seed: int) -> torch.nn.Module:
    """The encoder's module with untrained adapters, which change nothing yet. All its other weights are fixed.

    Raises InputError if peft is not installed, or if no layer has one of the names.
    """
    try:
        import peft
    except ImportError as error:
        raise InputError(f"towers.lora needs the extra `encoders`: {EXTRA} ({error})") from error
    layers = list(lora.layers) or "all-linear"
    config = peft.LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=layers)
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # what peft asks of transformers, and nobody here can change
        torch.manual_seed(seed)
        try:
            module: torch.nn.Module = peft.get_peft_model(encoder.module, config)
        except ValueError as error:
            names = sorted({name.rpartition(".")[2] for name in _linear_layers(encoder.module)})
            raise InputError(
                f"towers.lora.layers: got {', '.join(lora.layers)}; the linear layers of {encoder.config.model} are "
                f"named {', '.join(names)}"
            ) from error
    return module.eval()


def _linear_layers(module: torch.nn.Module) -> list[str]:
    return [name for name, part in module.named_modules() if isinstance(part, torch.nn.Linear)]
