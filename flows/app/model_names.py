"""The one way in which commands name experiments and models: EXPERIMENT, EXPERIMENT/ARM, @champion.

EXPERIMENT is a file or its name: experiments/shop.yaml or shop. ARM is all that a run trains or serves by a name, or
@champion. An experiment alone stands for its champion, and @champion alone for that of the experiment that ran last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data.experiment.packaged import PACKAGED
from ebr_core.errors import InputError
from tasks.experiment_paths import CHAMPION as CHAMPION
from tasks.experiment_paths import SUFFIXES, noted_names, noted_path

if TYPE_CHECKING:
    from data.experiment.experiment_spec import Experiment

FOLDER = Path("experiments")  # in which a name is looked up


class ModelName(NamedTuple):
    """A model as the command line names it."""

    experiment: str | None  # a file or a name; None for the experiment that ran last
    arm: str | None  # None for the champion

    @property
    def experiment_name(self) -> str | None:
        """The name under which the experiment runs."""
        return None if self.experiment is None else name_of(self.experiment)


def read_model_name(text: str) -> ModelName:
    """The experiment and the arm of a text such as shop/random. Raises InputError for one of another form.

    >>> read_model_name("experiments/shop.yaml/random")
    ModelName(experiment='experiments/shop.yaml', arm='random')
    >>> read_model_name("shop/@champion"), read_model_name("@champion")
    (ModelName(experiment='shop', arm=None), ModelName(experiment=None, arm=None))
    """
    if text == CHAMPION:
        return ModelName(None, None)
    if is_experiment(text):
        return ModelName(text, None)
    experiment, _, arm = text.rpartition("/")
    if not experiment or not arm or experiment == CHAMPION:
        raise InputError(
            f"got {text!r}; expected EXPERIMENT/ARM, such as shop/random, or shop/{CHAMPION}, or {CHAMPION}"
        )
    return ModelName(experiment, None if arm == CHAMPION else arm)


def is_experiment(text: str) -> bool:
    """True if the text names an experiment, and no arm of it.

    >>> is_experiment("shop"), is_experiment("a/shop.yaml"), is_experiment("shop/random")
    (True, True, False)
    """
    return bool(text) and ("/" not in text or Path(text).suffix in SUFFIXES or Path(text).is_file())


def name_of(experiment: str) -> str:
    """The name under which an experiment runs: that of its file without the suffix. Raises InputError for the name of a
    model.

    >>> name_of("experiments/shop.yaml"), name_of("shop")
    ('shop', 'shop')
    """
    path = Path(experiment)
    if path.suffix in SUFFIXES or path.is_file():
        return path.stem
    _refuse_model(experiment)
    return experiment


def experiment_file(experiment: str) -> Path:
    """The file of an experiment that is named by its path or its name.

    A name is looked up as experiments/NAME.yaml, then as NAME.yaml, then where it ran last, then among those that come
    with ebr. Raises InputError if there is no such file.
    """
    if Path(experiment).is_file():
        return Path(experiment)
    if Path(experiment).suffix in SUFFIXES:
        raise InputError(f"{experiment}: no such file{_similar(experiment)}")
    _refuse_model(experiment)
    places = (FOLDER / f"{experiment}.yaml", Path(f"{experiment}.yaml"), noted_path(experiment))
    found = next((place for place in (*places, PACKAGED / f"{experiment}.yaml") if place and place.is_file()), None)
    if found is None:
        raise InputError(
            f"no experiment {experiment!r}: there is neither {places[0]} nor {places[1]}, and none of that name has run"
            f"{_similar(experiment)}"
        )
    return found


def _refuse_model(experiment: str) -> None:
    """Raise InputError for a text that cannot name an experiment."""
    if not experiment or "/" in experiment or experiment.startswith("@"):
        raise InputError(
            f"got {experiment!r}; expected an experiment alone: its file, such as experiments/shop.yaml, or its name, "
            "such as shop"
        )


def _similar(experiment: str) -> str:
    """The experiments with similar names, as the end of a message; empty without any."""
    names = {path.stem for folder in (FOLDER, Path()) for path in folder.glob("*.yaml")} | set(noted_names())
    return closest(name_of(experiment), names)


def closest(word: str, words: Iterable[str]) -> str:
    """`; did you mean …?` with the words most like this one; empty if none is.

    >>> closest("randm", ["random", "hard"])
    '; did you mean random?'
    """
    matches = get_close_matches(word, sorted(words))
    return f"; did you mean {' or '.join(matches)}?" if matches else ""


def arm_of_file(text: str) -> tuple[Path, str]:
    """(the file, the arm) of EXPERIMENT/ARM, for commands that read the file. Raises InputError if there is no such
    file, or no champion where one is named."""
    from tasks.served_models import models_of

    name = read_model_name(text)
    path = experiment_file(name.experiment or str(models_of(None)["experiment"]))
    return path, name.arm or str(models_of(path.stem)["champion"])


def bundle_folder(text: str) -> Path:
    """The folder of the bundle that EXPERIMENT/ARM or @champion names, or that the text is the path of.

    Raises InputError if there is no such model.
    """
    from tasks.served_models import bundle_of, models_of

    if is_bundle(text):
        return Path(text)
    name = read_model_name(text)
    _refuse_arm_alone(text, name)
    folder = bundle_of(models_of(name.experiment_name), name.arm)
    if not folder.is_dir():
        raise InputError(f"{text}: its folder {folder} is gone; ebr run makes it again")
    return folder


def is_bundle(text: str) -> bool:
    """True if the text is the path of a bundle's folder."""
    return (Path(text) / "manifest.json").is_file()


def experiment_of(text: str) -> str | None:
    """The name of the experiment of a model, by default of the one that ran last; None for the folder of a bundle."""
    from tasks.served_models import models_of

    if is_bundle(text):
        return None
    return read_model_name(text).experiment_name or str(models_of(None)["experiment"])


def served_names(texts: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """(the experiment, by default None for the one that ran last; the arms) of models that are served together.

    Raises InputError if they belong to several experiments, or if there is no such model.
    """
    from tasks.served_models import models_of

    for text in texts:
        if is_bundle(text):
            raise InputError(f"{text}: a folder cannot be served, because it has no champion; write EXPERIMENT/ARM")
        bundle_folder(text)
    names = [read_model_name(text) for text in texts]
    experiments = list(dict.fromkeys(name.experiment_name for name in names))
    if len(experiments) > 1:
        listed = ", ".join(experiment or CHAMPION for experiment in experiments)
        raise InputError(f"got models of {listed}; one service has the models of one experiment")
    experiment = experiments[0] if experiments else None
    models_of(experiment)
    return experiment, tuple(name.arm for name in names if name.arm)


def _refuse_arm_alone(text: str, name: ModelName) -> None:
    """Raise InputError for the name of an arm of the experiment that ran last, without that experiment."""
    from tasks.served_models import experiments_with_models, models_of

    known = experiments_with_models()
    if name.experiment_name in (None, *known) or not known:
        return
    last = models_of(None)
    if text in last["models"]:
        raise InputError(f"got {text!r}, an arm; name its experiment, too: {last['experiment']}/{text}")


def refuse_unknown_arm(spec: Experiment, arm: str, path: Path) -> None:
    """Raise InputError if the experiment trains no arm of this name."""
    if arm not in spec.arms:
        made_of = "; it is made of arms" if arm in (*spec.ensembles, *spec.combined_lists) else ""
        raise InputError(f"{path}: no arm {arm!r}{made_of}; there are {', '.join(spec.arms)}{closest(arm, spec.arms)}")
