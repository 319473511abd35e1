"""CAN log files as columns of frames: the way into the drawing for recorded traffic.

``open_log`` streams a file in chunks and bounded memory, ``read_log`` takes a whole one, ``find_logs`` expands folders.
candump logs are parsed by a kernel of our own, MF4 by asammdf in columns, everything else by python-can's readers.
"""

from .files import find_logs
from .log import Log, open_log, read_log

__all__ = ["Log", "find_logs", "open_log", "read_log"]
