"""The pretrained encoders that the arms of an experiment name: found, and checked, when the file is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from data.experiment.encoder_arms import FullPath, full_model
from ebr_core.encoders.model_folder import open_folder
from ebr_core.encoders.static_config import StaticStart
from ebr_core.encoders.token_config import require_extra
from ebr_core.errors import InputError
from ebr_core.towers.tower_config import NgramTowerConfig, TowerConfig, TransformerTowerConfig
from ebr_core.training.arm_config import Arm


def with_models(read: Mapping[str, Arm], full_path: FullPath) -> tuple[dict[str, Arm], list[str]]:
    """(the arms with absolute paths of the models of their towers, and with their dimensions; a problem for each model
    that cannot be used). The paths of their other models are absolute already."""
    arms: dict[str, Arm] = {}
    problems: list[str] = []
    for name, arm in read.items():
        arms[name] = arm
        try:
            arms[name] = arm.model_copy(update={"towers": _found(arm.towers, full_path)})
        except InputError as error:
            problems.append(f"arms.{name}.towers: {error}")
        if arm.teacher is not None:
            try:
                require_extra()
                open_folder(arm.teacher)
            except InputError as error:
                problems.append(f"arms.{name}.loss.distillation: {error}")
    return arms, problems


def _found(towers: TowerConfig, full_path: FullPath) -> TowerConfig:
    """The settings with the absolute path of the model, if they name one by its path, and with its dimensions."""
    match towers:
        case NgramTowerConfig(static=StaticStart() as static):
            require_extra()
            static = static.model_copy(update={"model": full_model(static.model, full_path)})
            open_folder(static.encoder)
            return towers.model_copy(update={"static": static})
        case NgramTowerConfig():
            return towers
        case TransformerTowerConfig():
            require_extra()
            if towers.lora is not None:
                require_extra("peft")
            towers = towers.model_copy(update={"model": full_model(towers.model, full_path)})
            return towers.model_copy(update={"dimensions": open_folder(towers.encoder).dimensions})
        case _:
            assert_never(towers)
