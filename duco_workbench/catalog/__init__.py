"""The catalog: tenants, devices, databases, decoder manifests, variables and chart groups, each under a revision.

Only the meta API (``duco_workbench.api.meta``) opens its database; everyone else asks :class:`client.CatalogClient`.

::

    tables, migrations   what is stored         engine       opening it, reading and writing sessions
    registry             tenants, devices       contents     what a database file describes
    databases            files and revisions    overrides    factors a person changed
    manifests            which decodes which bus, from which event time on
    variables, charts    friendly names; groups of them that a page draws
    publishing           one change and everything that follows from it
    units, naming, proposals    the rules that fill variables and charts from any file
"""
