"""What can be served: the bundles of arms, and those of cascades and rankers; the validation chooses among them."""

from __future__ import annotations

from collections.abc import Mapping

from data.experiment.experiment_spec import Experiment
from ebr_core.search.modes import RERANKED, Mode
from flows.arms import ArmRun
from flows.hybrids import Fusions
from flows.leaking_models import leaking_models
from flows.rerankers import Rerankers
from flows.sources import EvalSets, Source
from flows.submit import settle, submit
from flows.vectors import Indexes
from tasks.champion_choice import champion_of
from tasks.fusion_stages import choose_mode
from tasks.kinds import Log, ModelBundle, RetrievedList, ServedMode
from tasks.reranked_bundles import bundle_cascade, bundle_ranker, refusal_of

REFIT_REFUSAL = "refit: true trains an arm once more, not what reorders its lists"


def bundle_reranked(
    spec: Experiment,
    source: Source,
    searches: EvalSets,
    indexes: Indexes,
    rerankers: Rerankers,
    bundles: Mapping[str, ModelBundle],
) -> dict[str, ModelBundle]:
    """A bundle for each cascade and ranker, of the seed that is served. bundles: of arms and ensembles.

    Empty with `refit`: the arms that it trains once more are not those from whose lists a ranker has learned.
    """
    if spec.refit:
        return {}
    seed, reranked = spec.seeds[0], {}
    for name, cascade in spec.cascades.items():
        pair, index = (bundles[cascade.first], bundles[cascade.then]), indexes[(cascade.first, seed), cascade.index]
        reranked[name] = submit(bundle_cascade, (name,), *pair, index, cascade, name)
    for name, ranker in spec.rankers.items():
        model, index = rerankers.rankers[name, seed], indexes[(ranker.of, seed), ranker.index]
        parts = bundles[ranker.of], model, index, ranker, name
        reranked[name] = submit(bundle_ranker, (name,), *parts, source.log, searches.test, source.own.distances)
    return reranked


def measure_reranked(
    spec: Experiment, exact: Mapping[ArmRun, RetrievedList], searches: EvalSets
) -> dict[ArmRun, ServedMode]:
    """The validation recall of each cascade and ranker, on the searches on which modes of arms are compared. exact:
    their lists by exact search, see retrieve_exact."""
    if searches.validation is None:
        return {}
    validation, k = searches.validation, spec.evaluation.main_k
    return {run: submit(choose_mode, run, validation, {RERANKED: rows}, k) for run, rows in exact.items()}


def refusals(spec: Experiment, bundles: Mapping[str, ModelBundle]) -> dict[str, str]:
    """Cascade or ranker → the reason why it cannot be served. bundles: those that were made."""
    if spec.refit:
        return dict.fromkeys([*spec.cascades, *spec.rankers], REFIT_REFUSAL)
    return {name: reason for name, bundle in bundles.items() if (reason := refusal_of(bundle))}


def served_arm(
    spec: Experiment, log: Log, fusions: Fusions, bundles: Mapping[str, ModelBundle]
) -> tuple[str, Mode] | None:
    """The champion and its mode: the highest validation recall among those with a bundle; None without bundles. Waits
    for them."""
    modes, _ = settle({name: mode for (name, _), mode in fusions.modes.items()})
    champion = champion_of(settle(bundles)[0], modes, leaking_models(spec, log, bundles))
    return champion and champion[:2]
