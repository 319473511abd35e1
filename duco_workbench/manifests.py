"""Which decoder manifest applies: by device and event time, the same answer for every reader of the catalog."""

from __future__ import annotations

from collections.abc import Iterable

from .model import Manifest

ANY_DEVICE = "*"


def choose(manifests: Iterable[Manifest], tenant: str, chassis_id: str, ts: int) -> Manifest | None:
    """The manifest that decodes a message of ``ts`` (microseconds UTC), or None where none is valid yet.

    Of those of the tenant, for this device or for all, with ``valid_from <= ts``: the device's own before ``"*"``,
    then the latest ``valid_from``, then the highest revision.
    """
    valid = (
        m for m in manifests if m.tenant == tenant and m.chassis_id in (chassis_id, ANY_DEVICE) and m.valid_from <= ts
    )
    return max(valid, key=lambda m: (m.chassis_id != ANY_DEVICE, m.valid_from, m.revision), default=None)
