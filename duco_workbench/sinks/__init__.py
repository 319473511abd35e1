"""Where flows write to. Each sink keeps the contract of :mod:`duco_workbench.ports`."""
