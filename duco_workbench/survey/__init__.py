"""What is on a bus, whether or not anybody documented it: ids, rates, senders, bits that move, what databases explain.

::

    Recording(logs) -> FrameBatch chunks -> Census -> ids and buses
                                                        │
    Databases(--dbc) -> Index -> how each id is explained ─► shares, a proposed bus <-> database assignment
"""
