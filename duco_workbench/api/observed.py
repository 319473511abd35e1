"""``/health`` and ``/metrics`` of an HTTP service; its requests, by the path as it was declared and never as asked."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from fastapi import APIRouter, FastAPI, Response
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..ops import Process
from ..ops.figures import OTHER, Spread

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def observe(app: FastAPI, process: Process) -> None:
    """Add the two paths, and measure every other."""
    requests = Requests()
    process.registry.register(requests)
    router = APIRouter(tags=["service"])

    @router.get("/health", summary="Whether it does its work (200), or what is wrong (503)")
    def health() -> Response:
        return _response(process, "/health")

    @router.get("/metrics", summary="For Prometheus")
    def metrics() -> Response:
        return _response(process, "/metrics")

    app.include_router(router)
    app.add_middleware(Measured, requests=requests)


def _response(process: Process, path: str) -> Response:
    answer = process.answer(path)
    return Response(answer.body, answer.status, media_type=answer.kind)


class Requests(Collector):
    """``duco_requests_total{path,method,status}`` and ``duco_request_seconds{path,method}``. Used from one loop."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._seconds: dict[tuple[str, str], Spread] = {}

    def add(self, path: str, method: str, status: int, seconds: float) -> None:
        self._counts[path, method, str(status)] += 1
        self._seconds.setdefault((path, method), Spread(SECONDS)).add_one(seconds)

    def collect(self) -> Iterator[Metric]:
        counts = CounterMetricFamily("duco_requests", "Requests answered.", labels=["path", "method", "status"])
        for labels, count in list(self._counts.items()):
            counts.add_metric(labels, count)
        seconds = HistogramMetricFamily("duco_request_seconds", "Until the answer ended.", labels=["path", "method"])
        for labels_of, spread in list(self._seconds.items()):
            seconds.add_metric(labels_of, *spread.buckets())
        yield from (counts, seconds)


class Measured:
    """The middleware."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self.app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status, begun = 500, time.monotonic()

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            path = getattr(scope.get("route"), "path", OTHER)
            method = scope["method"] if path != OTHER else OTHER
            self._requests.add(path, method, status, time.monotonic() - begun)
        return None
