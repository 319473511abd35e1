"""The IoT Hub's built-in endpoint: what azure-eventhub reads, over AMQP 1.0 and TLS, out of the journal.

::

    server ── connection ── session ── links ──── supplies ── journal
              (SASL, open,  (windows,  (credit)   (events, answers)
               heartbeats)   attach)     └── management ($cbs, $management), readers (owner levels)

It is this slice of AMQP 1.0 and Event Hubs, and no more:

- SASL ANONYMOUS or MSSBCBS, then a shared access signature put to ``$cbs`` for each audience; it is judged again at
  each use and each heartbeat, and links whose token has expired are detached. No SASL PLAIN, no Entra ID tokens, no
  WebSockets.
- ``$management`` reads the event hub's and a partition's properties.
- Receivers on ``<hub>/ConsumerGroups/<group>/Partitions/<id>``: any group name, groups need not be made; a start by
  offset, sequence number or time; owner levels; credit, drain and session windows; what is sent is settled, as by the
  real one. Offsets are sequence numbers as text. The end of the partition with each event, where that is asked for.
- Nobody sends here: a sender is refused with ``amqp:unauthorized-access``, "'Send' claim(s) are required", as by the
  real one. No transactions, no resumed deliveries, no geo-replication offsets.

What a peer does wrong ends its connection with an AMQP error. A peer that does not read costs two pieces of the
journal (:data:`.supplies.READ_BYTES`) per link, and a bounded write buffer.
"""

from .server import Server, serve

__all__ = ["Server", "serve"]
