"""What a service counts, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flows.app.service.open_models import ServedModels

SECONDS = (0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 1)


class ServiceMetrics(NamedTuple):
    """The counters of one service, which registry holds."""

    registry: CollectorRegistry
    requests: Counter
    request_seconds: Histogram
    search_seconds: Histogram
    in_flight: Gauge
    together: Histogram


def new_metrics(served: ServedModels) -> ServiceMetrics:
    """The counters of a service over these models, all at zero."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the start of each counter would double the page
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(ModelFacts(served))
    return ServiceMetrics(
        registry,
        Counter("ebr_requests", "Requests, by path and status", ("path", "status"), registry=registry),
        Histogram(
            "ebr_request_seconds", "From a request's head to its answer", ("path",), registry=registry, buckets=SECONDS
        ),
        Histogram(
            "ebr_search_seconds",
            "A search itself: embedding, index, terms and fusion",
            ("model", "mode"),
            registry=registry,
            buckets=SECONDS,
        ),
        Gauge("ebr_requests_in_flight", "Requests that have begun and not ended", registry=registry),
        Histogram(
            "ebr_queries_embedded_together",
            "Queries of one call of the query tower",
            registry=registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
        ),
    )


class ModelFacts(Collector):
    """The open models, as they are when somebody asks."""

    def __init__(self, served: ServedModels) -> None:
        self.served = served

    def collect(self) -> Iterator[Metric]:
        """Documents and age of each model, and the attempts to open a newer one that failed."""
        listing, models = self.served.current
        documents = GaugeMetricFamily("ebr_documents", "Documents that a model holds", labels=("model",))
        age = GaugeMetricFamily("ebr_model_age_seconds", "Since the run that made a model", labels=("model",))
        made_at = _instant(listing["made_at"])
        for arm, bundle in models.items():
            documents.add_metric((arm,), bundle.documents.num_rows)
            if made_at is not None:
                age.add_metric((arm,), (datetime.now(UTC) - made_at).total_seconds())
        failed = CounterMetricFamily("ebr_reloads_failed", "Failed attempts, one a second, to open a newer champion")
        failed.add_metric((), self.served.failed_reloads)
        yield from (documents, age, failed)


def _instant(text: str) -> datetime | None:
    """The instant that a text names; None if it names none."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant
