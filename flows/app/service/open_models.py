"""The models that a service holds open, and the watch for a new champion."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ebr_core.errors import InputError
from ebr_core.parallel import use_threads
from ebr_core.serving.model_bundle import Bundle, open_bundle
from ebr_core.towers.city_names import locate_cities
from tasks.served_models import bundle_of, models_of

RELOAD_S = 1.0  # between checks for a new champion


class ServedModels:
    """The open models. One assignment changes them: a request sees the old models or the new ones, never a mixture."""

    def __init__(self, experiment: str | None, arms: tuple[str, ...]) -> None:
        """Open the champion and these arms; by default the next best arm."""
        self.experiment, self.arms, self.reload_error, self.failed_reloads = experiment, arms, "", 0
        self.current = self._open(models_of(experiment), {})

    def _open(
        self, listing: dict[str, Any], open_bundles: dict[Path, Bundle]
    ) -> tuple[dict[str, Any], dict[str, Bundle]]:
        other_arms = self.arms or tuple(arm for arm in listing["models"] if arm != listing["champion"])[:1]
        folders = {arm: bundle_of(listing, arm) for arm in dict.fromkeys((listing["champion"], *other_arms))}
        bundles = {arm: open_bundles.get(folder) or open_bundle(folder) for arm, folder in folders.items()}
        if any(bundle.own.places is not None for bundle in bundles.values()):
            locate_cities(["Lyon"], [None])  # reads the table of cities now, not for the first request
        return listing, bundles

    def model(self, name: str | None) -> tuple[str, Bundle, str]:
        """(name, model, the time at which it was made), by default of the champion. Raises InputError if it is not
        served."""
        listing, models = self.current
        arm = name or listing["champion"]
        if arm not in models:
            raise InputError(f"no model {arm!r} is served; there are {', '.join(models)}")
        return arm, models[arm], str(listing["made_at"])

    def reload(self) -> bool:
        """True if the last run made other models, which are open now. If they do not open, the old ones answer."""
        listing, models = self.current
        try:
            newest = models_of(self.experiment)
            if newest == listing:
                return False
            self.current = self._open(newest, {bundle_of(listing, arm): bundle for arm, bundle in models.items()})
            self.reload_error = ""
        except (InputError, OSError, ValueError) as error:
            self.reload_error = str(error)
            self.failed_reloads += 1
            return False
        return True


def watch_champion(served: ServedModels, stop: threading.Event) -> None:
    """Open each new champion until the event is set, in a thread of its own, while requests are answered."""
    use_threads(1)
    while not stop.wait(RELOAD_S):
        served.reload()
