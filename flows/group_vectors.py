"""The vectors of texts that groups read: each encoder's texts in shares, so that these can be encoded side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from ebr_core.towers.feature_config import Features
from ebr_core.towers.vector_config import Encoder, GivenVectors
from ebr_core.training.arm_config import Arm
from flows.submit import result, submit
from tasks.encode_stages import Encoding, describe_encoder, encode, encode_share, encoding_of, shares_of
from tasks.given_vector_stage import describe_vectors, read_vectors, vector_contents
from tasks.kinds import EncodedShare, Log, TextVectors
from tasks.log_stages import ReadLogs


def text_vectors(log: Log, files: ReadLogs, feature_sets: Iterable[Features]) -> dict[Features, dict[str, TextVectors]]:
    """For the features of each arm, the vectors of each group of kind vectors or encoder. What several groups share is
    read or encoded once. files: those of the log's raw tables."""
    shares: dict[Encoding, list[EncodedShare]] = {}
    return {
        features: {name: _vectors_of(log, files, group, shares) for name, group in features.text_vectors.items()}
        for features in feature_sets
    }


def _vectors_of(
    log: Log, files: ReadLogs, group: GivenVectors | Encoder, shares: dict[Encoding, list[EncodedShare]]
) -> TextVectors:
    match group:
        case GivenVectors():
            sources = group.model_copy(update={"adapt": "both"})  # what is learned changes nothing here
            return submit(read_vectors, (), files, log, sources, *vector_contents(group, files))
        case Encoder():
            return _encoded(log, group, shares)
        case _:
            assert_never(group)


def teacher_vectors(log: Log, arm: Arm) -> TextVectors | None:
    """The vectors of the encoder whose scores are a soft target of an arm; None if it has none."""
    teacher = _teacher_of(arm)
    return None if teacher is None else _encoded(log, teacher, {})


def check_teacher(log: Log, arm: Arm) -> list[str]:
    """A sentence on the encoder whose scores are a soft target of an arm, if it has one.

    Nothing is encoded. Raises InputError if it cannot be opened.
    """
    teacher = _teacher_of(arm)
    return [] if teacher is None else [describe_encoder("loss.distillation", teacher, log)]


def _teacher_of(arm: Arm) -> Encoder | None:
    """The encoder of an arm's soft target, which reads of documents what the arm reads."""
    return None if arm.teacher is None else Encoder(**arm.teacher.model_dump(), body=arm.text.body)


def check_vectors(log: Log, files: ReadLogs, features: Features) -> list[str]:
    """A sentence for each group of kind vectors or encoder: how many rows have a vector, or what encodes them.

    Nothing is encoded. Raises InputError if vectors cannot be read, or an encoder cannot be opened.
    """
    sentences = []
    for name, group in features.text_vectors.items():
        match group:
            case GivenVectors():
                sentences.append(describe_vectors(name, _vectors_of(log, files, group, {})))
            case Encoder():
                sentences.append(describe_encoder(f"group {name}", group, log))
            case _:
                assert_never(group)
    return sentences


def _encoded(log: Log, group: Encoder, shares: dict[Encoding, list[EncodedShare]]) -> TextVectors:
    encoding = encoding_of(group)
    if encoding not in shares:
        count = shares_of(result(log))
        shares[encoding] = [
            submit(encode_share, (f"share {share + 1} of {count}",), log, encoding, share, count)
            for share in range(count)
        ]
    return submit(encode, (), log, encoding, group.dimensions, shares[encoding])
