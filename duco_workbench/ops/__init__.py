"""What an operator sees of a process: its Prometheus metrics, its health, its log lines.

::

    source ──► batch ──► sinks          Watch (watch.py) stands around both ends of a flow …
       └──────────┴────────┘
                  ▼
      figures.py: counts, times, ages   … and measures each batch once, when it is committed
                  │
    process.py ───┴──► door.py          GET /health: 200, or 503 with sentences;  GET /metrics: Prometheus' text

Only batches are measured, never single messages, and no label names a machine or a message: a thousand machines give
as many time series as one.
"""

from __future__ import annotations

from .process import Process
from .watch import Watch

__all__ = ["Process", "Watch"]
