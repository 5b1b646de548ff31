"""Whether all pictures of a stream have one form, and which, by their headers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from curation import av1_frames, avc_headers, hevc_headers, vp9_frames
from curation.bits import NotUnderstood
from curation.nal_units import NAL_CODECS, header_units, is_sequence_set, length_size, units
from curation.picture_form import Form

_ONE_FORM = {"vp9": vp9_frames.one_form, "av1": av1_frames.one_form}
"""Codecs of which any frame may differ in form from those it refers to, with what reads it from the frames' headers."""


def told_form(codec: str, extradata: bytes | None, packets: Sequence[bytes]) -> Form | None:
    """The form that all pictures of packets in decoding order have, the first of which is a keyframe; None where headers do not tell."""
    if codec in _ONE_FORM:
        return _ONE_FORM[codec](packets)
    sets = _sequence_sets(codec, extradata, packets) if codec in NAL_CODECS else set()
    if len(sets) != 1:
        return None
    try:
        if codec == "h264":
            found = [one.form for one in avc_headers.Sets(list(sets)).sequences.values()]
        else:
            found = [one.form for one in hevc_headers.parameters(list(sets))[0].values()]
    except NotUnderstood:
        return None
    return found[0] if found else None


def has_one_form(codec: str, extradata: bytes | None, packets: Sequence[bytes]) -> bool:
    """Whether all pictures are sure to have one form, be it known or not."""
    if codec in _ONE_FORM:
        return _ONE_FORM[codec](packets) is not None
    return codec in NAL_CODECS and len(_sequence_sets(codec, extradata, packets)) == 1


def _sequence_sets(codec: str, extradata: bytes | None, packets: Iterable[bytes]) -> set[bytes]:
    """The different sequence parameter sets that a stream's header and packets hold; they give size and format of the pictures."""
    size = length_size(codec, extradata)
    found = set(header_units(codec, extradata))
    for packet in packets:
        found.update(units(packet, size))
    return {unit for unit in found if is_sequence_set(codec, unit)}
