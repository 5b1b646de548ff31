"""What H.264 headers prove of open groups: the proof against decoders, real and imagined, and against headers made to deceive it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.avc_headers import Sets
from curation.avc_references import leaves_all_behind
from curation.golden.draw import texture, window
from curation.golden.encode import encode
from curation.golden.packets import stored_in
from curation.nal_units import header_units, length_size, units

WIDTH, HEIGHT, COUNT, GOP = 96, 64, 40, 12
OPEN = "open-gop=1:scenecut=0:b-adapt=0"
STREAMS: dict[str, tuple[int, str]] = {
    "pyramid": (4, f"{OPEN}:b-pyramid=normal"),
    "strict": (5, f"{OPEN}:b-pyramid=strict"),
    "many": (3, f"{OPEN}:b-pyramid=normal:ref=6"),
    "flat": (2, f"{OPEN}:b-pyramid=none:ref=3"),
    "one": (1, f"{OPEN}:ref=1:weightp=0"),
    "temporal": (4, f"{OPEN}:b-pyramid=normal:direct=temporal:ref=4:weightb=1"),
    "slices": (3, f"{OPEN}:b-pyramid=normal:slices=3"),
    "without cabac": (3, f"{OPEN}:b-pyramid=normal:ref=4:cabac=0:8x8dct=0"),
    "scaling lists": (3, f"{OPEN}:b-pyramid=normal:cqm=jvt"),
}
"""Frames in a row that are stored late, and x264's parameters."""
Packet = tuple[bytes, int, bool]
"""(data, time of showing, is codec keyframe)."""


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[bytes | None, list[Packet]]]:
    folder, made = tmp_path_factory.mktemp("open"), {}
    for kind, (bframes, parameters) in STREAMS.items():
        path = folder / f"{kind}.mp4"
        big = texture(WIDTH + 3 * COUNT + 16, HEIGHT + 16, 5)
        frames = (window(big, 8 + 3 * n, 8 + n % 3, WIDTH, HEIGHT) for n in range(COUNT))
        encode(frames, path, 25, gop=GOP, bframes=bframes, options={"preset": "medium", "x264-params": parameters})
        made[kind] = stored_in(path)
    return made


def keys_of(packets: Sequence[Packet]) -> list[int]:
    return [n for n, (_, _, key) in enumerate(packets) if key]


def parted(packets: Sequence[Packet], key: int) -> tuple[list[Packet], list[Packet]]:
    """(what a copy from a keyframe holds, its leading frames)."""
    time = packets[key][1]
    return [p for p in packets[key:] if p[1] >= time], [p for p in packets[key:] if p[1] < time]


def proven(extradata: bytes | None, packets: Sequence[Packet], key: int) -> bool:
    chosen, left_out = parted(packets, key)
    return leaves_all_behind(extradata, [p[0] for p in chosen], [p[0] for p in left_out])


def pictures(extradata: bytes | None, packets: Sequence[Packet]) -> dict[int, np.ndarray] | None:
    """Frames by time of showing; None where the decoder finds fault with one."""
    context: Any = av.CodecContext.create("h264", "r")
    context.extradata, context.thread_count = extradata, 1
    context.options = {"err_detect": "crccheck+bitstream+buffer+explode"}
    found = {}
    try:
        for data, time, _ in [*packets, (b"", 0, False)]:
            packet = av.Packet(data) if data else None
            if packet is not None:
                packet.pts = time
            for frame in context.decode(packet):
                if frame.is_corrupt:
                    return None
                found[frame.pts] = frame.to_ndarray()
    except av.error.FFmpegError:
        return None
    return found


def copied(extradata: bytes | None, packets: Sequence[Packet], key: int) -> dict[int, np.ndarray]:
    """What a usual decoder shows of a copy that begins at a keyframe."""
    context: Any = av.CodecContext.create("h264", "r")
    context.extradata, context.thread_count = extradata, 1
    found = {}
    for data, time, _ in [*parted(packets, key)[0], (b"", 0, False)]:
        packet = av.Packet(data) if data else None
        if packet is not None:
            packet.pts = time
        for frame in context.decode(packet):
            found[frame.pts] = frame.to_ndarray()
    return found


@pytest.mark.parametrize("kind", STREAMS)
def test_open_groups_are_proven_and_decode_alone(
    kind: str, streams: dict[str, tuple[bytes | None, list[Packet]]]
) -> None:
    extradata, packets = streams[kind]
    whole = pictures(extradata, packets)
    assert whole is not None
    assert len(whole) == COUNT
    opened = [key for key in keys_of(packets)[1:] if not _is_idr(extradata, packets[key][0])]
    assert opened
    for key in opened:
        assert proven(extradata, packets, key)
        alone = copied(extradata, packets, key)
        assert alone.keys() == {time for time in whole if time >= packets[key][1]}
        assert all(np.array_equal(picture, whole[time]) for time, picture in alone.items())


def _is_idr(extradata: bytes | None, data: bytes) -> bool:
    return any(unit[0] & 31 == 5 for unit in units(data, length_size("h264", extradata)))


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(sorted(STREAMS)),
    group=st.integers(1, 2),
    packet=st.integers(-GOP, GOP),
    byte=st.integers(0, 9),
    change=st.integers(1, 255),
)
def test_whatever_is_proven_decodes_alone(
    kind: str, group: int, packet: int, byte: int, change: int, streams: dict[str, tuple[bytes | None, list[Packet]]]
) -> None:
    """Headers that were changed: either the proof fails, or the stream is at fault, or a copy shows what the whole shows."""
    extradata, packets = streams[kind]
    key = keys_of(packets)[group]
    at = min(key + packet, len(packets) - 1)
    data, time, is_key = packets[at]
    size = length_size("h264", extradata)
    slices = [unit for unit in units(data, size) if unit[0] & 31 in (1, 5)]
    start = data.find(slices[0])
    damaged = bytearray(data)
    damaged[start + byte] ^= change
    changed = [*packets[:at], (bytes(damaged), time, is_key), *packets[at + 1 :]]
    if not proven(extradata, changed, key):
        return
    whole = pictures(extradata, changed)
    if whole is None or len(whole) != len(packets):
        return  # a scan would have found fault with it
    alone = copied(extradata, changed, key)
    for time in (p[1] for p in parted(changed, key)[0]):
        assert np.array_equal(alone[time], whole[time])


# Headers written bit by bit


class Writer:
    """Bits of a unit."""

    def __init__(self) -> None:
        self._bits = ""

    def u(self, value: int, count: int) -> Writer:
        self._bits += f"{value:0{count}b}"
        return self

    def ue(self, *values: int) -> Writer:
        for value in values:
            bits = f"{value + 1:b}"
            self._bits += "0" * (len(bits) - 1) + bits
        return self

    def se(self, *values: int) -> Writer:
        return self.ue(*(2 * value - 1 if value > 0 else -2 * value for value in values))

    def unit(self, first: int) -> bytes:
        bits = self._bits + "1"
        data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
        escaped = bytearray()
        for byte in data:
            if byte <= 3 and escaped[-2:] == b"\0\0":
                escaped.append(3)
            escaped.append(byte)
        return b"\0\0\1" + bytes([first]) + bytes(escaped)


def header(references: int = 4, order_type: int = 0, gaps: int = 0, frames: int = 1, two_orders: int = 0) -> bytes:
    sps = Writer().u(77, 8).u(0, 8).u(30, 8).ue(0, 0, order_type)
    if order_type == 0:
        sps.ue(2)
    sps.ue(references).u(gaps, 1).ue(5, 3).u(frames, 1)
    if not frames:
        sps.u(0, 1)
    pps = Writer().ue(0, 0).u(1, 1).u(two_orders, 1).ue(0, 0, 0).u(0, 1).u(0, 2).se(0, 0, 0).u(0, 3)
    return sps.u(0, 3).unit(0x67) + pps.unit(0x68)


def made(
    kind: str, number: int, order: int | None, *, second: int | None = None, reference: bool = True, active: Sequence[int] = (), named: Sequence[Sequence[int]] = (),
    dropped: Sequence[int] | None = None, nal: int = 1,
) -> bytes:  # fmt: skip
    """A picture: numbers as `Slice` has them; the highest bits fall away."""
    bits = Writer().ue(0, "PBI".index(kind), 0).u(number % 16, 4)
    if order is not None:
        bits.u(order % 64, 6)
    if second is not None:
        bits.se(second)
    if kind == "B":
        bits.u(1, 1)
    lists = {"P": 1, "B": 2, "I": 0}[kind]
    if lists:
        bits.u(bool(active), 1)
        for count in active:
            bits.ue(count - 1)
    for steps in [*named, (), ()][:lists]:
        bits.u(bool(steps), 1)
        for step in steps:
            bits.ue(step > 0, abs(step) - 1)
        if steps:
            bits.ue(3)
    if reference:
        bits.u(dropped is not None, 1)
        for step in dropped or ():
            bits.ue(1, step - 1)
        if dropped is not None:
            bits.ue(0)
    return bits.unit((0x60 if reference else 0) | nal)


KEY = made("I", 3, 50)
LEAD = made("B", 4, 44)

CASES: dict[str, tuple[bool, list[bytes], list[bytes]]] = {
    # proven?, leading pictures, later ones
    "nothing follows": (True, [LEAD], []),
    "the keyframe alone": (True, [], [made("P", 4, 60)]),
    "more references than there are new ones": (False, [], [made("P", 4, 60, active=[2])]),
    "two of them later": (True, [], [made("P", 4, 60), made("P", 5, 62, active=[2])]),
    "three of two": (False, [], [made("P", 4, 60), made("P", 5, 62, active=[3])]),
    "the leading one comes first": (False, [LEAD], [made("P", 5, 60)]),
    "the keyframe is named": (True, [LEAD], [made("P", 5, 60, named=[[-2]])]),
    "the leading one is named": (False, [LEAD], [made("P", 5, 60, named=[[-1]])]),
    "an older one is named": (False, [LEAD], [made("P", 5, 60, named=[[-3]])]),
    "the keyframe, then the leading one": (False, [LEAD], [made("P", 5, 60, active=[2], named=[[-2]])]),
    "the keyframe twice": (True, [LEAD], [made("P", 5, 60, active=[2], named=[[-2, -16]])]),
    "named around the highest number": (True, [LEAD], [made("P", 5, 60, named=[[14]])]),
    "a leading one that nothing may refer to": (True, [made("B", 4, 44, reference=False)], [made("P", 4, 60)]),
    "both directions": (True, [], [made("P", 4, 60), made("B", 5, 54, reference=False)]),
    "both directions, but the leading one is kept": (
        False, [LEAD], [made("P", 5, 60, named=[[-2]]), made("B", 6, 54, reference=False)],
    ),
    "both directions, and it was dropped": (
        True, [LEAD], [made("P", 5, 60, named=[[-2]], dropped=[1]), made("B", 6, 54, reference=False)],
    ),
    "both directions, named": (
        True, [LEAD],
        [made("P", 5, 60, named=[[-2]]), made("B", 6, 54, reference=False, named=[[-3], [-1]])],
    ),
    "the keyframe was dropped": (
        False, [], [made("P", 4, 60, dropped=[1]), made("B", 5, 54, reference=False)],
    ),
    "two earlier ones in a list": (
        False, [], [made("P", 4, 60), made("B", 5, 54, reference=False, active=[2, 1])],
    ),
    "two later ones in a list": (
        False, [], [made("P", 4, 60), made("B", 5, 54, reference=False, active=[1, 2])],
    ),
    "nothing earlier but the keyframe": (False, [], [made("B", 4, 54, reference=False)]),
    "the leading one drives the keyframe out": (
        False, [LEAD, made("B", 5, 46), made("B", 6, 47), made("B", 7, 48)], [made("P", 8, 60, named=[[-5]])],
    ),
    "the leading ones drive each other out, where what fills their places would drive out the keyframe": (
        False,
        [LEAD, *(made("B", n, 40 + n, dropped=[1]) for n in (5, 6, 7))], [made("P", 8, 60, named=[[-5]])],
    ),
    "as many leading ones as there is room for": (
        True, [LEAD, made("B", 5, 46), made("B", 6, 47)], [made("P", 7, 60, named=[[-4]])],
    ),
    "a number is missing": (False, [], [made("P", 5, 60)]),
    "a leading number is missing": (False, [made("B", 5, 44)], [made("P", 6, 60, named=[[-3]])]),
    "a leading one that is shown later": (False, [made("B", 4, 52)], [made("P", 5, 60, named=[[-2]])]),
    "a later one that is shown before": (False, [], [made("P", 4, 44)]),
    "a list that may be turned round, as nothing earlier is kept": (
        False,
        [],
        [made("P", 4, 60), made("P", 5, 62, dropped=[2]), made("B", 6, 54, reference=False, named=[[-2], []])],
    ),
    "half the range later": (True, [], [made("P", 4, 50 + 32)]),
    "what fills the place of a leading one stays": (
        False,
        [LEAD, made("B", 5, 46, dropped=[1])],
        [made("P", 6, 60, named=[[-3]], dropped=[1]), made("B", 7, 54, reference=False)],
    ),
    "more are kept than may be": (False, [], [made("P", n, 48 + n, dropped=[]) for n in range(4, 8)]),
    "an IDR picture ends it": (True, [], [made("P", 4, 60), made("I", 0, 0, nal=5), made("P", 1, 2, active=[4])]),
    "too late": (False, [], [made("P", 4, 60, active=[2]), made("I", 0, 0, nal=5)]),
    "the times lie too far apart to tell": (False, [made("B", 4, 50 - 31)], [made("P", 5, 50 + 30, named=[[-2]])]),
    "partitions": (False, [], [made("P", 4, 60, nal=2)]),
    "no picture": (False, [], [b"\0\0\1\x06\x05\x01a\x80"]),
    "it ends too soon": (False, [], [made("P", 4, 60)[:5]]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_lists_hold_what_the_standard_says(case: str) -> None:
    expected, leading, following = CASES[case]
    assert leaves_all_behind(header(), [KEY, *following], leading) is expected


def test_what_is_not_understood_is_not_proven() -> None:
    following = [made("P", 4, 60)]
    assert leaves_all_behind(header(), [KEY, *following], [])
    for wrong in (
        None,
        b"",
        header()[:6],
        header(gaps=1),
        header(frames=0),
        header(order_type=1),
        header().split(b"\0\0\1")[1],
    ):
        assert not leaves_all_behind(wrong, [KEY, *following], [])
    for key in (made("P", 3, 50), made("I", 3, 50, reference=False), made("I", 0, 0, nal=5), b""):
        assert not leaves_all_behind(header(), [key, *following], [])


def test_the_oldest_goes_where_there_are_too_many() -> None:
    """With room for two, the third drives the first out; it stands third in no list."""
    following = [made("P", 4, 52), made("P", 5, 54, active=[2]), made("P", 6, 56, active=[3])]
    assert leaves_all_behind(header(references=3), [KEY, *following], [])
    assert not leaves_all_behind(header(references=2), [KEY, *following], [])


def test_orders_are_those_of_both_fields_or_of_decoding() -> None:
    for second, expected in [(-1, True), (-2, False), (3, True)]:
        following = [made("P", 4, 52, second=second)]
        assert leaves_all_behind(header(two_orders=1), [made("I", 3, 50, second=0), *following], []) is expected
    following = [made("P", 4, None), made("P", 5, None, reference=False), made("P", 5, None, active=[2])]
    assert leaves_all_behind(header(order_type=2), [made("I", 3, None), *following], [])


def test_headers_are_read_as_ffmpeg_reads_them(streams: dict[str, tuple[bytes | None, list[Packet]]]) -> None:
    for kind, (extradata, packets) in streams.items():
        (sequence,) = Sets(list(header_units("h264", extradata))).sequences.values()
        assert (sequence.form.width, sequence.form.height, sequence.form.plain) == (WIDTH, HEIGHT, True)
        shown = sorted(p[1] for p in packets)
        late = max(sum(before[1] > p[1] for before in packets[:n]) for n, p in enumerate(packets))
        assert sequence.form.reorder == late, (kind, shown)
