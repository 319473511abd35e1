"""DUCO Workbench: machines' CAN traffic, live and historical, decoded, plotted and queried.

The drawing of the data flow is in README.md; each module says which box of it it is.
"""

__version__ = "0.1.0"
