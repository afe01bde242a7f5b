"""Start stages and wait for them: inside a flow as concurrent task runs, outside a flow at once.

`submit` returns a promise that is typed as the artifact it will become, so that mypy checks the wiring. A promise can
be passed to other stages; only the functions below may look inside.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeGuard, TypeVar, cast
from weakref import WeakKeyDictionary

from tasks.artifacts import Stage

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture

from tasks.stage_labels import stage_label

P = ParamSpec("P")
A = TypeVar("A")
K = TypeVar("K", bound=Hashable)
_DEPENDENCIES: WeakKeyDictionary[PrefectFuture[Any], list[PrefectFuture[Any]]] = WeakKeyDictionary()
_NAMES: WeakKeyDictionary[PrefectFuture[Any], str] = WeakKeyDictionary()


def submit(stage: Stage[P, A], label: tuple[str | int, ...], /, *args: P.args, **kwargs: P.kwargs) -> A:
    """The artifact of a stage: inside a flow a promise of it, outside a flow the artifact itself.

    label: what the stage is about, such as an arm and a seed: part of its name on the Prefect page and beside progress
    bars.
    """
    if not _in_flow():
        return stage.fn(*args, **kwargs)
    name = stage_label(stage.name, label)
    future: PrefectFuture[Any] = stage.task.with_options(task_run_name=name).submit(*args, **kwargs)
    _NAMES[future], _DEPENDENCIES[future] = name, list(_futures([*args, *kwargs.values()]))
    return cast(A, future)


def result(promise: A) -> A:
    """The promised artifact. Raises the error of its stage, or of a stage that it needs."""
    if not _is_promise(promise):
        return promise
    failure = _first_failure(promise)
    return cast(A, (failure or promise).result())


def settle(promises: Mapping[K, A]) -> tuple[dict[K, A], dict[K, str]]:
    """(artifacts, reasons why the others failed), both by key, once all stages have ended."""
    artifacts: dict[K, A] = {}
    failures: dict[K, str] = {}
    for key, promise in promises.items():
        reason = failure_reason(promise)
        if reason is None:
            artifacts[key] = result(promise)
        else:
            failures[key] = reason
    return artifacts, failures


def failure_reason(*promises: object) -> str | None:
    """The reason of the first failure among these stages and those that they need; None if all succeeded."""
    for promise in promises:
        if _is_promise(promise) and (failed := _first_failure(promise)):
            error = failed.result(raise_on_failure=False)
            reason = f"{type(error).__name__}: {error}"
            return reason if failed is promise else f"{_NAMES[failed]} failed: {reason}"
    return None


def has_run(promise: object) -> bool:
    """True if the stage ran, successfully or not; False if a stage that it needs failed first. Waits for its end."""
    if not _is_promise(promise):
        return True
    promise.wait()
    return not promise.state.is_pending()


def _in_flow() -> bool:
    """True inside a flow. Without Prefect, which takes seconds to import, there is none."""
    if "prefect.context" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def _is_promise(value: object) -> TypeGuard[PrefectFuture[Any]]:
    if "prefect.futures" not in sys.modules:
        return False
    from prefect.futures import PrefectFuture

    return isinstance(value, PrefectFuture)


def _first_failure(promise: PrefectFuture[Any]) -> PrefectFuture[Any] | None:
    """The stage that failed by itself: this one, or one that it needs, whose failure kept it from starting."""
    promise.wait()
    if promise.state.is_completed():
        return None
    if promise.state.is_pending():
        for dependency in _DEPENDENCIES.get(promise, []):
            if failure := _first_failure(dependency):
                return failure
    return promise


def _futures(values: Iterable[object]) -> Iterable[PrefectFuture[Any]]:
    """The promises among arguments, including those in lists and dictionaries."""
    for value in values:
        if _is_promise(value):
            yield value
        elif isinstance(value, list | tuple):
            yield from _futures(value)
        elif isinstance(value, dict):
            yield from _futures(value.values())
