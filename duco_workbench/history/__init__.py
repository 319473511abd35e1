"""What is stored, as tables: for notebooks, apps and the data API.

::

    history = History()                                # the embedded stack's store; or History("http://host:8123/duco")
    history.machines().to_pandas()
    history.samples("truck-1", ["EEC1.*", "CCVS1.WheelBasedVehicleSpeed@can1:00"], "2026-01-01T00:00:00Z").to_polars()

Times are datetimes or pandas Timestamps with a zone, ISO texts with a zone, or integer microseconds UTC; a range holds
its ``start`` and not its ``end``. Signals are names ``Message.Signal``, flat keys ``Message.Signal@source``, or either
with ``*`` and ``?``; a name without a message (``EngineSpeed``) means that signal of any message.
Everything raises ConfigError for what the caller can mend and ServiceError when the store does not answer.
"""

from .reader import DEFAULT_URL, History
from .tables import Rows

__all__ = ["DEFAULT_URL", "History", "Rows"]
