"""The configuration of an arm: one frozen value with all that determines a training."""

from __future__ import annotations

from typing import Any, Literal, assert_never

from pydantic import Field, ValidationError, field_validator, model_validator

from ebr_core.encoders.encoder_config import EncoderConfig
from ebr_core.frozen import Frozen
from ebr_core.towers.column_config import SIDES
from ebr_core.towers.feature_config import Features, Group, GroupName, TextFeatures, drop_nulls, refuse_reserved_names
from ebr_core.towers.tower_config import NgramTowerConfig, TowerConfig, TransformerTowerConfig, with_kind
from ebr_core.training.loss_config import Distillation, Loss, Softmax, Triplet
from ebr_core.training.pair_config import Mining, NegativeMix, Positives, Ratings, TypoCopies


class Training(Frozen):
    """The training schedule. In every arm, an epoch has as many pairs as the training window has clicks."""

    batch_size: int = Field(1024, ge=2, le=65_536, description="number of pairs in a step")
    epochs: int = Field(
        60,
        ge=0,
        le=10_000,
        description="the cap, the largest number of epochs. Questions about an arm that stops at the cap stay "
        "undecided. 0: the untrained model, a control",
    )
    patience: int | None = Field(
        5,
        ge=1,
        description="number of epochs without a better validation recall after which training stops; null: train all "
        "epochs, because the length itself is the question",
    )
    learning_rate: float = Field(
        0.1, gt=0, le=100, description="learning rate of row-wise Adagrad for the n-gram tables"
    )
    threads: int = Field(
        1, ge=1, le=256, description="number of training threads; fixed for an arm, so that a seed gives the same bytes"
    )
    window: int | None = Field(
        None,
        ge=65_536,
        description="number of pairs that are shuffled together; null: all. With a window, a log larger than memory is "
        "read block by block instead of pair by pair",
    )

    @property
    def is_fixed(self) -> bool:
        """True if the length is fixed, so that the training does not end by convergence."""
        return self.patience is None or not self.epochs


TrainingEnd = Literal["patience", "cap", "exempt"]


def training_end(recalls: list[float], training: Training) -> TrainingEnd:
    """The reason why a training ended, from the validation recall after each of its epochs.

    "patience": recall had stopped rising. "cap": the epochs ran out before, so more of them might have helped.
    "exempt": the length was fixed, by epochs 0 or patience null.

    >>> training_end([0.1, 0.2, 0.2], Training(epochs=3, patience=1)), training_end([0.1], Training(epochs=1))
    ('patience', 'cap')
    """
    if training.patience is None or training.is_fixed:
        return "exempt"
    return "patience" if len(recalls) - 1 - recalls.index(max(recalls)) >= training.patience else "cap"


class Arm(Frozen):
    """A model to train: its positives, negatives, inputs, loss and start."""

    positives: Positives = Positives()
    negatives: NegativeMix = NegativeMix()
    negatives_at_end: NegativeMix | None = Field(
        None, description="a curriculum: the counts change linearly, epoch by epoch, from negatives to these"
    )
    mining: Mining = Mining()
    mine_from: str | None = Field(None, description="the arm whose index supplies the offline hard negatives")
    remine_every: int = Field(
        0,
        ge=0,
        description="number of epochs after which the arm mines offline hard negatives again, from itself [ANCE 2021]",
    )
    ratings: Ratings | None = Field(None, description="ratings of retrieved results to use as training data")
    start_from: str | None = Field(
        None, description="the arm whose weights initialise this one, instead of random weights"
    )
    mask: Literal["pair", "query", "document", "none"] = Field(
        "pair",
        description="the known positives that cannot be negatives: those of the same query and searcher, those of the "
        "same query, the same document only, or none",
    )
    typos: TypoCopies = TypoCopies()
    text: TextFeatures = TextFeatures()
    groups: dict[GroupName, Group] = Field(
        default_factory=dict,
        description="the inputs of the towers in addition to the text: place, friends, any column; null removes a "
        "group of the base",
    )
    towers: TowerConfig = Field(NgramTowerConfig(), description="the two towers, of kind ngram or transformer")
    loss: Loss = Field(Triplet(), description="the loss that training minimises: triplet, softmax or three_part")
    training: Training = Training()
    trials: tuple[dict[Literal["loss", "training", "towers"], dict[str, Any]], ...] = Field(
        (),
        description="settings of loss and training, and rates of towers such as encoder_rate, that override the arm's; "
        "each trial is trained with the first seed, and the one with the best validation recall is used. All arms of "
        "a question need the same number of trials",
    )

    @field_validator("loss", mode="before")
    @classmethod
    def _kind_of(cls, loss: object) -> object:
        """The loss as written, with the default kind, triplet, filled in."""
        return {"kind": "triplet"} | loss if isinstance(loss, dict) else loss

    _kind_of_tower = field_validator("towers", mode="before")(with_kind)
    _removed = field_validator("groups", mode="before")(drop_nulls)
    _reserved = field_validator("groups")(refuse_reserved_names)

    @property
    def features(self) -> Features:
        """All that the towers read. The settings of n-grams are not among it if an encoder reads the texts."""
        match self.towers:
            case NgramTowerConfig():
                return Features(text=self.text, groups=self.groups)
            case TransformerTowerConfig():
                text = TextFeatures(body=self.text.body, read=self.text.read)
                return Features(text=text, groups=self.groups, tokens=self.towers.tokens)
            case _:
                assert_never(self.towers)

    @property
    def distillation(self) -> Distillation | None:
        """The encoder whose scores are a soft target, with its weight; None if it has none."""
        found = self.loss.distillation if isinstance(self.loss, Softmax) else None
        return found if found is not None and found.weight else None

    @property
    def teacher(self) -> EncoderConfig | None:
        """The encoder whose scores are a soft target in some trial; None if there is none."""
        return next((found.settings for arm in self.trial_arms if (found := arm.distillation) is not None), None)

    @property
    def sources(self) -> tuple[str, ...]:
        """The arms that have to be trained first: those from which this one mines, starts or takes ratings."""
        rated_arms = self.ratings.of if self.ratings else ()
        return tuple(dict.fromkeys(name for name in (self.mine_from, self.start_from, *rated_arms) if name))

    @model_validator(mode="after")
    def _trials_are_arms(self) -> Arm:
        for number, trial in enumerate(self.trials):
            if "threads" in trial.get("training", {}):
                raise ValueError(f"trials.{number}.training.threads: a trial cannot set it; set it in the arm")
            if fixed := [name for name in trial.get("towers", {}) if not name.endswith("_rate")]:
                raise ValueError(
                    f"trials.{number}.towers.{fixed[0]}: a trial sets rates of towers alone, such as encoder_rate; set "
                    "it in the arm"
                )
            if "encoder" in (trial.get("loss", {}).get("distillation") or {}):
                raise ValueError(
                    f"trials.{number}.loss.distillation.encoder: a trial cannot set it; set it in the arm, with "
                    "weight: 0"
                )
            try:
                Arm.model_validate(overlay(self._explicit_settings(), trial))
            except ValidationError as error:
                messages = [
                    f"trials.{number}.{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                    for problem in error.errors()
                ]
                raise ValueError("; ".join(messages)) from error
        return self

    def _explicit_settings(self) -> dict[str, Any]:
        """The settings that were given explicitly, without the trials."""
        return self.model_dump(exclude={"trials"}, exclude_unset=True)

    @property
    def trial_arms(self) -> list[Arm]:
        """The arm of each trial, or the arm itself if it has no trials."""
        trial_arms = [Arm.model_validate(overlay(self._explicit_settings(), trial)) for trial in self.trials]
        return trial_arms or [self.model_copy(update={"trials": ()})]

    @model_validator(mode="after")
    def _each_side_reads_something(self) -> Arm:
        for side in SIDES:
            if not self.features.parts_of(side):
                raise ValueError(
                    f"the tower of the {side} reads nothing, because text.read is {self.text.read} and no group reads "
                    f"the {side}; add a group, or set text.read: both"
                )
        if not self.text.reads("searches") and (self.positives.titles or self.typos.share):
            raise ValueError(
                f"positives.titles and typos need n-grams of queries, and text.read is {self.text.read}; set both to 0"
            )
        return self

    @model_validator(mode="after")
    def _mines_from_something(self) -> Arm:
        mixes = [self.negatives, self.negatives_at_end or self.negatives]
        mines = any(mix.offline_hard for mix in mixes)
        uses_rated = self.ratings is not None and self.ratings.negatives
        if mines and not (self.mine_from or self.remine_every or uses_rated):
            raise ValueError(
                "negatives.offline_hard needs mine_from, an arm, or remine_every, a number of epochs, or ratings; with "
                "both mine_from and remine_every, that arm is mined first"
            )
        if uses_rated and not mines:
            raise ValueError(
                "ratings.negatives needs negatives.offline_hard above 0, the number of them that a positive gets"
            )
        if uses_rated and self.remine_every:
            raise ValueError(
                "ratings.negatives and remine_every do not go together yet, because mining again drops the rated "
                "documents; use one of them"
            )
        if not mines and (self.mine_from or self.remine_every):
            raise ValueError("mine_from and remine_every need negatives.offline_hard above 0")
        if self.typos.share and self.towers.query_vectors > 1:
            raise ValueError("typos.share and towers.query_vectors above 1 do not go together yet; use one of them")
        if self.negatives_at_end is not None and not self.training.is_fixed:
            raise ValueError(
                "negatives_at_end needs training.patience: null, because the counts change until the last of "
                "training.epochs, and a training that stops before never gets there"
            )
        if self.positives.titles and self.towers.query_vectors > 1:
            raise ValueError("positives.titles and towers.query_vectors above 1 do not go together; use one of them")
        if self.positives.titles and not all(mix.random or mix.compares_batch or mix.memory for mix in mixes):
            raise ValueError(
                "positives.titles needs negatives that a title has, too: set negatives.random, in_batch, in_batch_hard "
                "or memory above 0; nothing was shown or mined for a title"
            )
        if isinstance(self.towers, NgramTowerConfig):
            if self.towers.static is not None and self.text.remainders is not None:
                raise ValueError("towers.static and text.remainders do not go together; use one of them")
        elif self.text.read == "none":
            raise ValueError("text.read: none leaves an encoder nothing to read; use towers of kind ngram")
        elif self.text.clicked_queries:
            raise ValueError(
                "text.clicked_queries needs towers of kind ngram: an encoder reads a document's own text; set it to "
                "false in this arm"
            )
        if isinstance(mixes[0].in_batch, int) != isinstance(mixes[1].in_batch, int):
            raise ValueError("negatives_at_end: in_batch cannot move between a count and 'all'")
        return self


def arm_settings(base: Any, override: Any) -> Any:
    """The settings of an arm: those of the base, and over them the arm's own.

    A section of the base that names no kind has the default kind: an arm with another kind takes nothing of it.
    """
    defaults = {"towers": "ngram", "loss": "triplet"}
    if isinstance(base, dict):
        kinds = {
            name: {"kind": kind} | base[name] for name, kind in defaults.items() if isinstance(base.get(name), dict)
        }
        base = base | kinds
    return overlay(base, override)


def overlay(base: Any, override: Any) -> Any:
    """base with override's values, key by key; an override of another `kind` replaces base as a whole.

    >>> overlay({"loss": {"kind": "triplet", "margin": 0.1}}, {"loss": {"margin": 0.3}})
    {'loss': {'kind': 'triplet', 'margin': 0.3}}
    """
    if not isinstance(base, dict) or not isinstance(override, dict):
        return override
    if "kind" in override and override["kind"] != base.get("kind", override["kind"]):
        return override
    return base | {key: overlay(base.get(key), value) for key, value in override.items()}
