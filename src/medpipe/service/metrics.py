"""What Prometheus reads of a service, in a registry of its own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from medpipe.service.served import Served

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter("medpipe_requests", "Requests", ["path", "status"], registry=self.registry)
        self.seconds = Histogram(
            "medpipe_request_seconds",
            "From a request's head to its answer",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.running = Gauge("medpipe_requests_running", "Requests being read or answered", registry=self.registry)
        self.held = Gauge("medpipe_held_bytes", "Bytes of their bodies", registry=self.registry)
        self.rows = Counter("medpipe_rows", "Rows by outcome: answered, wrong", ["outcome"], registry=self.registry)
        self.batch = Histogram(
            "medpipe_batch_rows", "Rows in a batch", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.reloads = Counter(
            "medpipe_reloads", "Looks at the alias: done, failed", ["outcome"], registry=self.registry
        )
        self.model = Gauge(
            "medpipe_model", "1 for the model that answers", ["model", "version", "sha256"], registry=self.registry
        )

    def serves(self, served: Served) -> None:
        self.model.clear()
        self.model.labels(*(value or "" for value in served.about.values())).set(1)

    def text(self) -> bytes:
        return generate_latest(self.registry)
