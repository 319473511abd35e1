"""CAN log files as columns of frames: the way into the drawing for recorded traffic.

``open_log`` streams a file in chunks and bounded memory, ``read_log`` takes a whole one, ``find_logs`` expands folders.

::

    .log  .asc  .trc  .csv   text.py: blocks of whole lines ──► a numba kernel for each format ──┐
    .blf                     blf.py: containers, unpacked ──► a numba kernel                     ├──► FrameBatch
    .mf4  .mdf  .dat         mf4.py: asammdf, in columns                                         │
    anything else            messages.py: python-can, a message at a time                       ─┘
"""

from .files import find_logs
from .log import Log, open_log, read_log
from .warm import warm_up

__all__ = ["Log", "find_logs", "open_log", "read_log", "warm_up"]
