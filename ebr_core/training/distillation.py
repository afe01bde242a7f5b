"""Distillation: the scores of a pretrained encoder as a soft target beside the clicks. [Hinton et al. 2015]

A click says that the positive has probability 1 among its negatives, an encoder has a probability for each of them. The
target of a pair is their mean, weighted by λ, so its loss is

    −Σ t log p = −log p⁺ + λ (s⁺ − Σ t s),  t = (1 − λ) [the positive] + λ (the encoder's softmax),

s the corrected logits of the towers and p their softmax. The second term is linear in the logits, so that it is added
to the loss of the clicks as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ebr_core.arrays import Bool, Float32, Int32
from ebr_core.lazy_torch import torch
from ebr_core.training.loss_config import Distillation
from ebr_core.training.losses import Correction, LossAndGradient

if TYPE_CHECKING:
    from torch import Tensor


class Teacher(NamedTuple):
    """The vectors that an encoder has of a log's texts: of unit length, or zero for a text without one."""

    queries: Float32  # (Q, W)
    documents: Float32  # (N, W)
    query_of: Int32  # (S,) the query of each search


class TeacherScores(NamedTuple):
    """The cosines that an encoder has for the candidates of a batch."""

    positive: Float32  # (B,)
    negative: Float32  # (B, C + H) those of the documents shared by all pairs, then those of the pair's own
    known: Bool  # (B,) True if the encoder has a vector of the query and of the positive


def teacher_scores(
    teacher: Teacher, searches: Int32, positives: Int32, shared: Int32, pair_negatives: Int32
) -> TeacherScores:
    """The encoder's cosines of the searches (B,) with the positives (B,), the documents shared by all pairs (C,) and
    the negatives of each pair (B, H). A title in place of a search (a negative row) has no vector, thus no cosine."""
    queries = np.array(teacher.queries[teacher.query_of[searches]])
    queries[searches < 0] = 0
    positive = np.array(teacher.documents[positives])
    of_pairs = np.array(teacher.documents[pair_negatives.ravel()]).reshape(*pair_negatives.shape, queries.shape[1])
    of_shared = torch.from_numpy(queries) @ torch.from_numpy(np.array(teacher.documents[shared])).T
    return TeacherScores(
        np.einsum("bw,bw->b", queries, positive),
        np.concatenate([of_shared.numpy(), np.einsum("bw,bhw->bh", queries, of_pairs)], 1),
        np.asarray(queries.any(1) & positive.any(1)),
    )


def distillation_term(
    positive: Tensor,
    negative: Tensor,
    negative_mask: Tensor,
    scores: TeacherScores,
    distillation: Distillation,
    temperature: float,
    correction: Correction | None = None,
    weights: Tensor | None = None,
) -> LossAndGradient:
    """What the soft target adds to the softmax loss of a batch, λ (s⁺ − Σ t s), mean over the batch.

    The arguments are those of `losses.softmax`. Both softmaxes have the same candidates and corrections, so the least
    loss is where the towers' logits differ from the encoder's by a constant. A pair of which the encoder has no vector
    adds nothing.
    """
    taught, known = (torch.from_numpy(scores.negative), torch.from_numpy(scores.known))
    logits = taught.to(negative.device) / distillation.temperature
    positive_logit = torch.from_numpy(scores.positive).to(negative.device) / distillation.temperature
    student, student_positive = negative / temperature, positive / temperature
    if correction is not None:
        logits, positive_logit = logits + correction.negative, positive_logit + correction.positive
        student, student_positive = student + correction.negative, student_positive + correction.positive
    logits = logits.masked_fill(~negative_mask, -torch.inf)
    target = torch.softmax(torch.cat([positive_logit[:, None], logits], 1), 1)
    share = known.to(negative.device, positive.dtype) * distillation.weight  # (B,) λ
    share = share if weights is None else share * weights
    by_negative = -share[:, None] * target[:, 1:]
    gap = share * student_positive - (share * target[:, 0]) * student_positive + (by_negative * student).sum(1)
    scale = temperature * len(positive)
    return LossAndGradient(float(gap.mean()), 0.0, -by_negative.sum(1) / scale, by_negative / scale)
