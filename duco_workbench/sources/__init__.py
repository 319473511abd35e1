"""Where flows read from. Each source keeps the contract of :mod:`duco_workbench.ports`."""
