"""EXPERIMENT, EXPERIMENT/ARM and @champion: what they stand for, and what messages say of others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ebr_core.errors import InputError
from flows.app.cli import app
from flows.app.model_names import (
    ModelName,
    arm_of_file,
    bundle_folder,
    experiment_file,
    experiment_of,
    name_of,
    read_model_name,
    served_names,
)
from flows.app.old_spellings import OLD
from tasks.experiment_paths import note_path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which commands start, with two experiments and the models of one of them."""
    monkeypatch.setenv("EBR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for folder in ("home/models", "home/artifacts/bundle-a", "home/artifacts/bundle-b", "experiments", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("experiments/shop.yaml", "experiments/other.yaml", "near.yaml", "elsewhere/far.yaml"):
        (tmp_path / file).write_text("arms: {random: {}, hard: {}}\n")
    models = {"hard": {"bundle": "bundle-a"}, "random": {"bundle": "bundle-b"}, "gone": {"bundle": "bundle-c"}}
    _publish(tmp_path, "shop", models, "hard")
    return tmp_path


def _publish(place: Path, experiment: str, models: dict[str, dict[str, str]], champion: str) -> None:
    content = {"experiment": experiment, "champion": champion, "models": models}
    (place / "home" / "models" / f"{experiment}.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("shop", ModelName("shop", None)),
        ("shop/random", ModelName("shop", "random")),
        ("shop/random+bm25", ModelName("shop", "random+bm25")),
        ("a/b/shop.yaml", ModelName("a/b/shop.yaml", None)),
        ("a/b/shop.yaml/random", ModelName("a/b/shop.yaml", "random")),
        ("shop.yaml/@champion", ModelName("shop.yaml", None)),
        ("@champion", ModelName(None, None)),
    ],
)
def test_a_text_names_an_experiment_and_an_arm(text: str, name: ModelName) -> None:
    assert read_model_name(text) == name


@pytest.mark.parametrize("text", ["", "/", "shop/", "/random", "@champion/random"])
def test_a_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected EXPERIMENT/ARM"):
        read_model_name(text)


def test_an_experiment_is_found_by_its_path_and_its_name(place: Path) -> None:
    assert experiment_file("shop") == Path("experiments/shop.yaml")
    assert experiment_file("near") == Path("near.yaml")
    assert experiment_file("elsewhere/far.yaml") == Path("elsewhere/far.yaml")
    with pytest.raises(InputError, match=r"no experiment 'far'.*none of that name has run"):
        experiment_file("far")
    note_path(Path("elsewhere/far.yaml"))
    os.chdir(place / "home")
    assert experiment_file("far") == place / "elsewhere" / "far.yaml"
    (place / "elsewhere" / "far.yaml").unlink()
    with pytest.raises(InputError, match="no experiment 'far'"):
        experiment_file("far")


def test_a_wrong_experiment_gives_a_similar_one(place: Path) -> None:
    for wrong in ("shpo", "experiments/shpo.yaml"):
        with pytest.raises(InputError, match=r"; did you mean shop\?"):
            experiment_file(wrong)
    for model in ("shop/random", "@champion", "experiments/shop"):
        for read in (experiment_file, name_of):
            with pytest.raises(InputError, match="expected an experiment alone"):
                read(model)


def test_a_model_is_a_bundle_of_an_experiment(place: Path) -> None:
    bundles = place / "home" / "artifacts"
    for text in ("shop", "shop/hard", "@champion", "experiments/shop.yaml", "shop/@champion"):
        assert bundle_folder(text) == bundles / "bundle-a"
    assert bundle_folder("experiments/shop.yaml/random") == bundles / "bundle-b"
    assert experiment_of("@champion") == "shop"
    (place / "shop").mkdir()
    (place / "shop" / "manifest.json").touch()
    assert bundle_folder("shop") == Path("shop")
    assert experiment_of("shop") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("random", "got 'random', an arm; name its experiment, too: shop/random"),
        ("shop/randm", "no model 'randm' of shop; there are shop/hard, shop/random"),
        ("shop/gone", "bundle-c is gone; ebr run makes it again"),
        ("other/random", r"no model of experiment 'other' under .*there are: shop"),
    ],
)
def test_a_model_that_is_not_there_is_refused(place: Path, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        bundle_folder(text)


def test_commands_about_an_arm_take_the_champion_from_the_last_run(place: Path) -> None:
    assert arm_of_file("shop") == arm_of_file("@champion") == (Path("experiments/shop.yaml"), "hard")
    assert arm_of_file("other/random") == (Path("experiments/other.yaml"), "random")
    with pytest.raises(InputError, match="no model of experiment 'other'"):
        arm_of_file("other/@champion")


def test_models_of_one_service_are_of_one_experiment(place: Path) -> None:
    assert served_names([]) == (None, ())
    assert served_names(["shop"]) == ("shop", ())
    assert served_names(["shop/random", "experiments/shop.yaml/hard"]) == ("shop", ("random", "hard"))
    _publish(place, "other", {"random": {"bundle": "bundle-b"}}, "random")
    with pytest.raises(InputError, match="got models of shop, other; one service has the models of one experiment"):
        served_names(["shop/random", "other"])
    with pytest.raises(InputError, match="no model 'nothing'"):
        served_names(["shop/nothing"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("search x --experiment shop", "write --model shop, for its champion, or --model shop/ARM"),
        ("batch a b --bundle=folder", "write --model folder, the folder of the bundle"),
        ("export out --experiment shop", "write --model shop,"),
        ("serve --models a,b", "write ebr serve EXPERIMENT/ARM"),
        ("negatives shop --arm hard", "write EXPERIMENT/hard in place of EXPERIMENT"),
        ("ratings export shop out.csv --arm hard", "write EXPERIMENT/hard in place of EXPERIMENT"),
        ("ratings import shop out.csv --arm=hard", "write EXPERIMENT/hard in place of EXPERIMENT"),
        ("status --experiment shop", "write ebr status shop"),
        ("rollback --experiment shop", "write ebr rollback shop"),
        ("runs --experiment shop", "write ebr runs shop"),
    ],
)
def test_a_spelling_of_earlier_is_refused_with_that_of_today(arguments: str, says: str) -> None:
    error = CliRunner().invoke(app, arguments.split()).exception
    assert isinstance(error, InputError)
    assert "is no longer an option" in str(error)
    assert says in str(error)


def test_every_old_spelling_belongs_to_a_command() -> None:
    callbacks = [command.callback for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        callbacks += [command.callback for command in group.typer_instance.registered_commands]
    assert set(OLD) <= {callback.__name__ for callback in callbacks if callback}
