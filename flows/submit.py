"""Start stages and wait for them: inside a flow as task runs side by side, outside a flow at once.

`submit` returns a promise that is typed as the artifact it will become, so that mypy checks the wiring. A promise can
be handed to other stages; only `settle` and `result` may look inside.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

from prefect import Task
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture

P = ParamSpec("P")
A = TypeVar("A")
K = TypeVar("K", bound=Hashable)
_NEEDS: WeakKeyDictionary[PrefectFuture[Any], list[PrefectFuture[Any]]] = WeakKeyDictionary()
_NAMES: WeakKeyDictionary[PrefectFuture[Any], str] = WeakKeyDictionary()


def submit(stage: Task[P, A], label: tuple[str | int, ...], /, *args: P.args, **kwargs: P.kwargs) -> A:
    """The artifact of a stage: inside a flow the promise of it, outside a flow the artifact itself.

    label: for whom the stage runs, on the pages and beside the progress bars.
    """
    if FlowRunContext.get() is None:
        return stage.fn(*args, **kwargs)
    name = " ".join([stage.name, *map(str, label)])
    task = stage.with_options(task_run_name=name) if label else stage
    future: PrefectFuture[Any] = task.submit(*args, **kwargs)
    _NAMES[future], _NEEDS[future] = name, list(_futures([*args, *kwargs.values()]))
    return cast(A, future)


def result(promise: A) -> A:
    """The artifact that was promised. Raises what its stage raised, or what a stage that it needs raised."""
    if not isinstance(promise, PrefectFuture):
        return promise
    failed = _first_failure(promise)
    return cast(A, (failed or promise).result())


def settle(promises: Mapping[K, A]) -> tuple[dict[K, A], dict[K, str]]:
    """(the artifacts, why the others failed), both by key, once all stages have ended."""
    artifacts: dict[K, A] = {}
    failures: dict[K, str] = {}
    for key, promise in promises.items():
        reason = why_failed(promise)
        if reason is None:
            artifacts[key] = result(promise)
        else:
            failures[key] = reason
    return artifacts, failures


def why_failed(*promises: object) -> str | None:
    """The first failure among these stages, or among those that they need; None where all went well."""
    for promise in promises:
        if isinstance(promise, PrefectFuture) and (failed := _first_failure(promise)):
            error = failed.result(raise_on_failure=False)
            reason = f"{type(error).__name__}: {error}"
            return reason if failed is promise else f"{_NAMES[failed]} failed: {reason}"
    return None


def has_begun(promise: object) -> bool:
    """Whether the stage ran, well or not; False where one that it needs failed first. Waits for its end."""
    if not isinstance(promise, PrefectFuture):
        return True
    promise.wait()
    return not promise.state.is_pending()


def _first_failure(promise: PrefectFuture[Any]) -> PrefectFuture[Any] | None:
    """The stage that failed by itself: this one, or one that it needs, which kept it from beginning."""
    promise.wait()
    if promise.state.is_completed():
        return None
    if promise.state.is_pending():
        for needed in _NEEDS.get(promise, []):
            if failed := _first_failure(needed):
                return failed
    return promise


def _futures(values: Iterable[object]) -> Iterable[PrefectFuture[Any]]:
    """The promises among arguments, in lists and dictionaries, too."""
    for value in values:
        if isinstance(value, PrefectFuture):
            yield value
        elif isinstance(value, list | tuple):
            yield from _futures(value)
        elif isinstance(value, dict):
            yield from _futures(value.values())
