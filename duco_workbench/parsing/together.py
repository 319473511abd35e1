"""The frames of many envelopes decoded in one call: for an envelope of a second, calls cost more than decoding.

Envelopes ride through the decoder as the machines of one batch, so that none knows of another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

import numpy as np

from ..batches import in_parts
from ..columns import Samples, Text
from ..model import Dtc, FrameBatch
from .decoder import CHUNK, Decoded, Decoder
from .thinning import thin


class Part(NamedTuple):
    """An envelope's frames, and the one decoder of each of its buses that has any."""

    frames: FrameBatch
    decoders: Mapping[str, Decoder]
    is_thinned: bool


class Content(NamedTuple):
    """What an envelope became."""

    samples: Samples
    texts: tuple[Text, ...]
    dtcs: tuple[Dtc, ...]


def decode_together(parts: Sequence[Part]) -> list[Content]:
    """What each of ``parts`` becomes, as if it had been decoded alone."""
    return [content for group in _groups(parts) for content in _decode(group)]


def _groups(parts: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """Parts that follow each other: of one width, thinned or not, and as many frames as stay in the caches."""
    for _, found in groupby(parts, _kind):
        alike = list(found)
        yield from in_parts(alike, [len(part.frames) for part in alike], CHUNK)


def _kind(part: Part) -> tuple[int, bool]:
    return part.frames.data.shape[1], part.is_thinned


def _decode(parts: Sequence[Part]) -> list[Content]:
    names = tuple(map(str, range(len(parts))))
    decoded = [decoder.decode_all(frames) for decoder, frames in _batches(parts, names)]
    samples = [thin(d.samples) if parts[0].is_thinned else d.samples for d in decoded]
    samples = [s for s in samples if len(s.signal_names)]
    of_part = Samples.beside(samples).by_machine() if samples else {}
    texts, dtcs = _texts(decoded), _dtcs(decoded)
    empty = Samples.empty()
    return [Content(of_part.get(name, empty), tuple(texts[name]), tuple(dtcs[name])) for name in names]


def _batches(parts: Sequence[Part], names: tuple[str, ...]) -> Iterator[tuple[Decoder, FrameBatch]]:
    """Every decoder with the frames that are its own; the machine of a frame is the number of its part."""
    frames = FrameBatch.concat([part.frames for part in parts])
    number = np.repeat(np.arange(len(parts), dtype=np.uint16), [len(part.frames) for part in parts])
    wanted: defaultdict[Decoder, list[tuple[int, int]]] = defaultdict(list)
    for i, part in enumerate(parts):
        for bus, decoder in part.decoders.items():
            wanted[decoder].append((i, frames.channels.index(bus)))
    for decoder, buses in wanted.items():
        table = np.zeros((len(parts), len(frames.channels)), bool)
        table[tuple(np.array(buses).T)] = True
        rows = np.flatnonzero(table[number, frames.channel])
        own = frames if len(rows) == len(frames) else frames[rows]
        yield decoder, replace(own, machine=number[rows], machines=names)


def _texts(decoded: Sequence[Decoded]) -> defaultdict[str, dict[Text, None]]:
    """By part, without repeats, in order."""
    found: defaultdict[str, dict[Text, None]] = defaultdict(dict)
    for text in (text for d in decoded for text in d.texts):
        found[text.machine][replace(text, machine="")] = None
    return found


def _dtcs(decoded: Sequence[Decoded]) -> defaultdict[str, dict[Dtc, None]]:
    """By part, without repeats, in order."""
    found: defaultdict[str, dict[Dtc, None]] = defaultdict(dict)
    for dtc in (dtc for d in decoded for dtc in d.dtcs):
        found[dtc.machine][replace(dtc, machine="")] = None
    return found
