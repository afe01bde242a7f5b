"""The settings of an arm: allowed ranges, and the errors for values outside them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ebr_core.frozen import Frozen
from ebr_core.towers.tower_config import NgramTowerConfig, read_tower_config, with_kind
from ebr_core.towers.vector_config import Graph
from ebr_core.training.arm_config import Arm, TextFeatures, Training
from ebr_core.training.loss_config import Softmax, ThreePart, Triplet
from ebr_core.training.pair_config import Mining, NegativeMix, Positives, Ratings, TypoCopies

MODELS: list[type[BaseModel]] = [
    *(Arm, Graph, Mining, NegativeMix, NgramTowerConfig, Positives, Softmax, TextFeatures, ThreePart, Training),
    *(Triplet, TypoCopies),
]  # fmt: skip

TAUGHT = {"encoder": "m"}


@pytest.mark.parametrize("model", MODELS)
def test_the_defaults_are_allowed_and_survive_json(model: type[BaseModel]) -> None:
    default = model()
    assert model.model_validate_json(default.model_dump_json()) == default


@pytest.mark.parametrize("model", MODELS)
def test_unknown_keys_are_refused_by_name(model: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="lerning_rate"):
        model.model_validate({"lerning_rate": 1})


@pytest.mark.parametrize("model", MODELS)
def test_values_cannot_change(model: type[BaseModel]) -> None:
    value = model()
    name = next(iter(model.model_fields))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(value, name, getattr(value, name))


# Each range by its last allowed values and the first refused ones.
RANGES: list[tuple[type[BaseModel], str, list[Any], list[Any]]] = [
    (TextFeatures, "char_ngrams", [[], [1], [8], [2, 3]], [[0], [9], [-1], 3, "3"]),
    (TextFeatures, "word_ngrams", [[], [1], [3]], [[0], [4]]),
    (TextFeatures, "buckets", [256, 2**26], [255, 2**26 + 1]),
    (TextFeatures, "body", [True, False], ["perhaps"]),
    (TextFeatures, "clicked_queries", [True, False], ["perhaps"]),
    (TextFeatures, "weighting", ["uniform", "idf", "learned"], ["tf", None]),
    (TextFeatures, "remainders", [None, 2, 2**24], [1, 2**24 + 1]),
    (NgramTowerConfig, "fusion", ["additive", "mlp"], ["sum"]),
    (NgramTowerConfig, "hidden", [2, 8192], [1, 8193]),
    (NgramTowerConfig, "kind", ["ngram"], ["transformer", None]),
    (NgramTowerConfig, "projection_rate", [1e-9, 100], [0, -1, 101, float("nan"), float("inf")]),
    (NgramTowerConfig, "weight_rate", [1e-9, 100], [0, -1, 101, float("nan")]),
    (NgramTowerConfig, "network_rate", [1e-9, 100], [0, -1, 101, float("nan")]),
    (TextFeatures, "read", ["both", "searches", "documents", "none"], ["queries"]),
    (NgramTowerConfig, "static", [None, {"model": "folder"}], [{}, {"model": ""}, {"model": "folder", "rate": 1}]),
    (NgramTowerConfig, "start_weight", [1e-9, 10], [0, -1, 11, float("nan")]),
    (Graph, "method", ["walks", "neighbours", "svd"], ["cleora"]),
    (Graph, "dimensions", [2, 2048], [1, 2049]),
    (Graph, "epochs", [1, 1000], [0, 1001]),
    (Graph, "edges", [[], ["friend"]], ["friend", [1]]),
    (Graph, "clicks", [True, False], ["perhaps"]),
    (Graph, "undated_edges", [True, False], ["perhaps"]),
    (Graph, "kind", ["graph"], ["values"]),
    (
        Arm,
        "groups",
        [{}, {"friends": {"kind": "graph"}}, {"friends": None}],
        [{"Friends!": {"kind": "graph"}}, {"a": {}}],
    ),
    (NgramTowerConfig, "dimensions", [2, 2048], [1, 2049, 0, -1, 3.5]),
    (NgramTowerConfig, "shared", [True, False], ["perhaps"]),
    (NgramTowerConfig, "prefixes", [[], [1], [127, 16]], [[0], [128], [3.5]]),
    (Positives, "source", ["clicks", "impressions", "both"], ["click", "", None]),
    (Positives, "actions", [[], ["purchase", "add to cart"]], ["purchase", [1], None]),
    (Positives, "equal_volume", [True, False], [2]),
    (Positives, "hard_share", [0, 1], [-0.1, 1.1, float("nan")]),
    (Positives, "titles", [0, 1], [-0.1, 1.1, float("nan")]),
    (NgramTowerConfig, "query_vectors", [1, 16], [0, 17]),
    (NegativeMix, "random", [1, 100_000], [-1, 100_001, 0.5]),
    (NegativeMix, "impressions", [0, 100], [-1, 101]),
    (NegativeMix, "in_batch", [0, 1, 10_000, "all"], [-1, "some", 0.5]),
    (NegativeMix, "in_batch_hard", [0, 1000], [-1, 1001]),
    (NegativeMix, "popularity", [0, 2], [-0.1, 2.1]),
    (NegativeMix, "offline_hard", [0, 100], [-1, 101]),
    (NegativeMix, "memory", [0, 100_000], [-1, 100_001]),
    (Mining, "window", [(1, 1), (101, 500), (0.0, 1.0), (0.002, 0.01)], [(0, 5), (5, 1), (0.5, 0.1), (0.1, 1.1), (1,)]),
    (Mining, "keep", [1, 10_000], [0, 10_001]),
    (Mining, "sharpness", [0, 1e6], [-1, 1e7]),
    (Mining, "shift", [-2, 2], [-2.1, 2.1]),
    (Mining, "below_positive", [None, 0.95, 2], [0, 2.1]),
    (Mining, "shard", [1e-3, 1], [0, 1.1]),
    (ThreePart, "kind", ["three_part"], ["hinge"]),
    (ThreePart, "positive", [0.6, 1], [0.5, 1.1]),
    (ThreePart, "impression", [0.2, 0.8], [0.1, 0.9, -2]),
    (ThreePart, "negative", [-1, 0.55], [-1.1, 0.6]),
    (TypoCopies, "share", [0, 1], [-0.1, 1.1]),
    (TypoCopies, "teaching", [0], [-1, 101]),
    (TypoCopies, "copies", [1, 64], [0, 65]),
    (TypoCopies, "mix", [{"rate": 1}], [{"rate": 2}, 3]),
    (Triplet, "margin", [1e-9, 2], [0, -0.1, 2.1, float("nan"), float("inf")]),
    (Triplet, "kind", ["triplet"], ["softmax"]),
    (Softmax, "temperature", [1e-3, 10], [0, -1, 10.1, float("nan")]),
    (Softmax, "logq", [0, 2], [-0.1, 2.1]),
    (Softmax, "logq_form", ["plain", "refined", "shuffled"], ["", None]),
    (Softmax, "kind", ["softmax"], ["triplet"]),
    (
        Softmax,
        "distillation",
        [None, TAUGHT, TAUGHT | {"weight": 0}, TAUGHT | {"weight": 1, "temperature": 1e-3}],
        [{}, "m", {"encoder": ""}, TAUGHT | {"weight": 1.1}, TAUGHT | {"weight": -0.1}, TAUGHT | {"temperature": 0}],
    ),
    (Training, "batch_size", [2, 65_536], [1, 65_537]),
    (Training, "epochs", [0, 10_000], [-1, 10_001]),
    (Training, "patience", [1, 10**6], [0]),
    (Training, "learning_rate", [1e-9, 100], [0, -1, 101, float("nan"), float("inf")]),
    (Training, "threads", [1, 256], [0, 257]),
    (Training, "window", [None, 65_536, 10**9], [0, 65_535]),
    (Ratings, "of", [["a"], ["a", "b"]], [[], ["a", "a"], "a"]),
    (Ratings, "positives", [True, False], ["some"]),
    (Ratings, "negatives", [True, False], ["some"]),
    (Ratings, "shuffled", [True, False], ["some"]),
    (Arm, "ratings", [None, {"of": ["a"], "negatives": False}], [{}, {"of": ["a"]}, "a"]),
    (Arm, "remine_every", [0], [-1]),
    (Arm, "mine_from", [None], [3]),
    (Arm, "start_from", [None, "other"], [3]),
    (Arm, "trials", [[], [{"loss": {"margin": 0.1}}]], [[{"loss": {"margin": -1}}], [{"text": {}}]]),
    (Arm, "mask", ["pair", "query", "document", "none"], ["searcher", None]),
    (Arm, "loss", [{"kind": "softmax"}, {}, {"margin": 0.1}], [{"kind": "hinge"}, {"temperature": 0.1}]),
]


@pytest.mark.parametrize(
    ("model", "key", "allowed", "refused"), RANGES, ids=lambda value: getattr(value, "__name__", None)
)
def test_every_range_ends_where_it_says(
    model: type[BaseModel], key: str, allowed: list[Any], refused: list[Any]
) -> None:
    needed = {"of": ["a"]} if model is Ratings else {}
    for value in allowed:
        assert key in model.model_validate(needed | {key: value}).model_fields_set
    for value in refused:
        with pytest.raises(ValidationError):
            model.model_validate(needed | {key: value})


def test_every_key_has_its_range_tested() -> None:
    tested = {(model, key) for model, key, _, _ in RANGES}
    nested = {
        (Arm, key)
        for key in ("positives", "negatives", "negatives_at_end", "mining", "typos", "text", "towers", "training")
    }
    assert tested | nested == {(model, key) for model in (*MODELS, Ratings) for key in model.model_fields}


def test_a_text_needs_some_unit() -> None:
    with pytest.raises(ValidationError, match="char_ngrams and word_ngrams are both empty"):
        TextFeatures(char_ngrams=(), word_ngrams=())


def test_a_positive_needs_some_negative() -> None:
    with pytest.raises(ValidationError, match="every count is 0"):
        NegativeMix(random=0)
    with pytest.raises(ValidationError, match="in_batch must be ≥ 0 or 'all', got -3"):
        NegativeMix(in_batch=-3)
    for kind in ({"impressions": 1}, {"in_batch": 1}, {"in_batch": "all"}, {"in_batch_hard": 1}):
        assert NegativeMix.model_validate({"random": 0, **kind}).random == 0


def test_the_kind_of_a_loss_chooses_its_keys() -> None:
    assert Arm.model_validate({"loss": {"kind": "softmax", "temperature": 0.1}}).loss == Softmax(temperature=0.1)
    with pytest.raises(ValidationError, match="margin"):
        Arm.model_validate({"loss": {"kind": "softmax", "margin": 0.1}})


def test_offline_hard_negatives_and_where_they_come_from_belong_together() -> None:
    with pytest.raises(ValidationError, match="offline_hard needs mine_from"):
        Arm.model_validate({"negatives": {"offline_hard": 1}})
    with pytest.raises(ValidationError, match=r"need negatives\.offline_hard above 0"):
        Arm(mine_from="random")
    at_end = {"negatives_at_end": {"random": 0, "offline_hard": 1}}
    fixed = {"training": {"patience": None}}
    assert Arm.model_validate({**at_end, **fixed, "mine_from": "random"}).mine_from == "random"
    with pytest.raises(ValidationError, match=r"negatives_at_end needs training\.patience: null"):
        Arm.model_validate({**at_end, "mine_from": "random"})


def test_ratings_and_the_negatives_they_give_belong_together() -> None:
    hard = {"random": 100, "offline_hard": 2}
    arm = Arm.model_validate({"negatives": hard, "ratings": {"of": ["a", "b"]}, "start_from": "b", "mine_from": "c"})
    assert arm.sources == ("c", "b", "a")
    with pytest.raises(ValidationError, match=r"ratings\.negatives needs negatives\.offline_hard above 0"):
        Arm.model_validate({"ratings": {"of": ["a"]}})
    with pytest.raises(ValidationError, match="remine_every do not go together yet"):
        Arm.model_validate({"negatives": hard, "ratings": {"of": ["a"]}, "remine_every": 1})
    with pytest.raises(ValidationError, match="both false"):
        Ratings(of=("a",), positives=False, negatives=False)


def test_positives_from_nowhere_are_refused() -> None:
    with pytest.raises(ValidationError, match="source: none needs hard_share above 0"):
        Positives(source="none")


def test_trials_vary_rates_of_towers_and_nothing_else_of_them() -> None:
    towers = {"kind": "transformer", "model": "m"}
    arm = Arm.model_validate({"towers": towers, "trials": [{"towers": {"encoder_rate": 1e-4}}, {}]})
    assert [trial.towers.first_rate for trial in arm.trial_arms] == [1e-4, 2e-5]  # type: ignore[union-attr]
    assert Arm.model_validate({"trials": [{"towers": {"projection_rate": 0.1}}]}).trial_arms[0].towers.kind == "ngram"
    with pytest.raises(ValidationError, match=r"trials\.0\.towers\.dimensions: a trial sets rates of towers alone"):
        Arm.model_validate({"trials": [{"towers": {"dimensions": 16}}]})
    with pytest.raises(ValidationError, match="encoder_rate"):
        Arm.model_validate({"trials": [{"towers": {"encoder_rate": 0.1}}]})


def test_trials_override_the_arm() -> None:
    arm = Arm.model_validate({"loss": {"margin": 0.5}, "trials": [{"training": {"learning_rate": 0.3}}, {"loss": {}}]})
    assert [(arm_of_trial.loss.margin, arm_of_trial.training.learning_rate) for arm_of_trial in arm.trial_arms] == [
        (0.5, 0.3),
        (0.5, 0.1),
    ]  # type: ignore[union-attr]
    assert Arm().trial_arms == [Arm()]


def test_teaching_needs_misspelt_copies() -> None:
    with pytest.raises(ValidationError, match="teaching needs share above 0"):
        TypoCopies(teaching=1)
    with pytest.raises(ValidationError, match="do not go together yet"):
        Arm.model_validate({"typos": {"share": 0.5}, "towers": {"query_vectors": 2}})


def test_the_default_kind_of_towers_is_ngram_and_another_kind_is_one_more_union_member() -> None:
    assert Arm.model_validate({"towers": {"dimensions": 16}}).towers == NgramTowerConfig(dimensions=16)
    assert Arm.model_validate({"towers": {"kind": "ngram"}}) == Arm()
    with pytest.raises(ValidationError, match="kind"):
        Arm.model_validate({"towers": {"kind": "transformer"}})

    class Other(Frozen):
        kind: Literal["other"] = "other"
        layers: int = 2

    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[NgramTowerConfig | Other, Field(discriminator="kind")])
    assert adapter.validate_python(with_kind({"dimensions": 16})) == NgramTowerConfig(dimensions=16)
    assert adapter.validate_python(with_kind({"kind": "other", "layers": 4})) == Other(layers=4)


def test_keys_that_an_older_version_did_not_write_take_their_defaults() -> None:
    settings = {
        "dimensions": 16, "shared": False, "query_vectors": 1, "prefixes": [4], "fusion": "mlp", "hidden": 32
    }  # fmt: skip
    config = read_tower_config(settings)
    assert config == NgramTowerConfig(dimensions=16, shared=False, prefixes=(4,), fusion="mlp", hidden=32)
    assert (config.projection_rate, config.weight_rate, config.network_rate) == (0.01, 0.5, 0.001)
    assert config.start_weight == 1


def test_towers_with_other_learning_rates_or_another_start_have_the_same_shape() -> None:
    slow = NgramTowerConfig(dimensions=16, projection_rate=1e-4, weight_rate=1e-4, network_rate=1e-4, start_weight=0.3)
    assert slow.shape() == NgramTowerConfig(dimensions=16).shape()
    assert slow.shape() != NgramTowerConfig(dimensions=17).shape()
    assert NgramTowerConfig(fusion="mlp").shape() != NgramTowerConfig().shape()
