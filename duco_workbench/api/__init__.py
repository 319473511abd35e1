"""The HTTP doors of the workbench: the meta API, and what later joins it."""
