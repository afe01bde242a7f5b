"""The values in names of stages: settings without their first defaults."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest

from data.experiment.log_config import Split
from ebr_core.frozen import Frozen
from ebr_core.training.arm_config import Arm
from ebr_core.training.loss_config import Softmax
from ebr_core.training.pair_config import Mining
from tasks.provenance import settings
from tasks.provenance.ledger import models, unknown_defaults
from tasks.provenance.settings import defaults_of, plain


class _Inner(Frozen):
    size: int = 1


class _Outer(Frozen):
    inner: _Inner = _Inner()
    rate: float = 1
    days: tuple[date, ...] = ()
    name: str


def test_first_defaults_are_left_out_and_other_values_are_named() -> None:
    assert plain(_Outer(name="a")) == {"is": "_Outer", "name": "a"}
    inner = {"is": "_Inner", "size": 2}
    assert plain(_Outer(name="a", inner=_Inner(size=2))) == {"is": "_Outer", "name": "a", "inner": inner}
    mining = Mining(window=(1, 9))
    assert plain(mining) == {"is": "Mining", "window": [1, 9]}
    assert plain(Arm(loss=Softmax(), mining=mining))["loss"] == {"is": "Softmax"}
    assert plain(Arm(loss=Softmax(), mining=mining))["mining"] == plain(mining)


@pytest.fixture
def other_first(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A ledger as if the default of _Inner.size had been changed from 5 to 1."""
    ledger = {"_Inner.size": 5, "_Outer.inner": {"is": "_Inner"}}
    settings._firsts.cache_clear()
    monkeypatch.setattr(settings, "first_defaults", lambda: ledger)
    yield
    settings._firsts.cache_clear()


def test_a_changed_default_is_named_and_the_first_is_not(other_first: None) -> None:
    assert plain(_Outer(name="a")) == {"is": "_Outer", "name": "a", "inner": {"is": "_Inner", "size": 1}}
    assert plain(_Outer(name="a", inner=_Inner(size=5))) == {"is": "_Outer", "name": "a"}


def test_values_that_are_equal_but_of_another_kind_differ() -> None:
    class _Any(Frozen):
        value: int | float | bool | str | None = 1

    names = [plain(_Any(value=value)) for value in (1, 1.0, True, "1", None)]
    assert len({str(name) for name in names}) == 5


def test_times_have_names() -> None:
    assert plain([date(2024, 1, 2), datetime(2024, 1, 2, tzinfo=UTC)]) == ["2024-01-02", "2024-01-02T00:00:00+00:00"]


def test_the_ledger_knows_every_field_with_a_default() -> None:
    """With another default, a field that is not in the ledger would find the artifacts of the first one."""
    assert unknown_defaults() == {}, "run `python -m tasks.provenance.ledger`, which adds them"


def test_no_two_settings_share_a_line_of_the_ledger() -> None:
    keys = Counter(f"{model.__name__}.{field}" for model in models() for field in defaults_of(model))
    assert [key for key, times in keys.items() if times > 1] == []


def test_a_number_has_one_name_however_it_is_written() -> None:
    """A file gives 0.0 where the default says 0."""
    assert plain(Arm.model_validate(Arm().model_dump(mode="json"))) == plain(Arm())
    assert plain(Split.model_validate(Split().model_dump(mode="json"))) == plain(Split())
    ranks, shares = Mining(window=(1, 1)), Mining(window=(1.0, 1.0))
    assert json.dumps(plain(ranks)) != json.dumps(plain(shares))
