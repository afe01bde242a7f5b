"""What an experiment file says of pretrained encoders and vectors: paths made absolute, and the row of every run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never

from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.encoders.model_folder import open_folder
from ebr_core.errors import InputError
from ebr_core.towers.feature_config import Group, TextFeatures
from ebr_core.towers.tower_config import NgramTowerConfig
from ebr_core.towers.vector_config import Encoder, GivenVectors, VectorFile
from ebr_core.training.arm_config import Arm, Training
from ebr_core.training.loss_config import Distillation, Softmax, ThreePart, Triplet

ENCODER = "encoder"  # the arm of evaluation.encoder, and its row in the tables
FullPath = Callable[[str], str]


def with_full_paths(arm: Arm, full_path: FullPath) -> Arm:
    """The arm with the paths of its models and vectors made absolute."""
    groups = {name: _with_full_path(group, full_path) for name, group in arm.groups.items()}
    arm = arm.model_copy(update={"groups": groups}) if groups != arm.groups else arm
    match arm.loss:
        case Softmax(distillation=Distillation() as distillation) as loss:
            encoder = distillation.settings
            encoder = encoder.model_copy(update={"model": full_model(encoder.model, full_path)})
            found = loss.model_copy(update={"distillation": distillation.model_copy(update={"encoder": encoder})})
            return arm.model_copy(update={"loss": found})
        case Softmax() | Triplet() | ThreePart():
            return arm
        case _:
            assert_never(arm.loss)


def _with_full_path(group: Group, full_path: FullPath) -> Group:
    match group:
        case Encoder():
            return group.model_copy(update={"model": full_model(group.model, full_path)})
        case GivenVectors():
            files = {side: getattr(group, side) for side in ("searches", "documents")}
            full = {
                side: source.model_copy(update={"path": full_path(source.path)})
                for side, source in files.items()
                if isinstance(source, VectorFile)
            }
            return group.model_copy(update=full)
        case _:
            return group


def full_model(model: str, full_path: FullPath) -> str:
    """The absolute path of a model's folder; a name at Hugging Face, which has at most one slash, stays."""
    path = full_path(model)
    is_name = not model.startswith((".", "~", "/")) and model.count("/") <= 1 and not Path(path).is_dir()
    return model if is_name else path


def encoder_arm(encoder: str | EncoderConfig, full_path: FullPath) -> Arm:
    """The arm of `evaluation.encoder`: queries and documents as the encoder has them, without training; of documents
    the title and the body, as BM25 reads them.

    Raises InputError if the model is not there.
    """
    settings = EncoderConfig(model=encoder) if isinstance(encoder, str) else encoder
    settings = settings.model_copy(update={"model": full_model(settings.model, full_path)})
    try:
        dimensions = open_folder(settings).dimensions
    except InputError as error:
        raise InputError(f"evaluation.encoder: {error}") from error
    group: dict[str, Any] = settings.model_dump() | {"adapt": "none", "body": True}
    return Arm(
        text=TextFeatures(read="none"),
        towers=NgramTowerConfig(dimensions=dimensions),
        groups={ENCODER: Encoder(**group)},
        training=Training(epochs=0),
    )
