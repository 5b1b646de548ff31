"""Loudness against the Recommendation's own filters and reference values, and against sound that is damaged, late or missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

from curation.frames import Span
from curation.hearing import Hearing, channel_weights
from curation.opening import quiet_decoder
from curation.signals import loudness as module
from curation.signals.loudness import Loudness

RATE = 48000


def span(start_s: float, end_s: float) -> Span:
    return Span(0, 0, 0, 0, start_s, end_s)


def measure(
    samples: np.ndarray, rate: int = RATE, *, start_s: float = 0.0, chunk: int = 1024, weights: tuple | None = None
) -> float | None:
    """Of (n, channels) samples, pushed as a decoder gives them."""
    meter = Loudness()
    for at in range(0, len(samples), chunk):
        meter.push(start_s + at / rate, samples[at : at + chunk].astype(np.float32), rate, weights)
    found = meter.close(span(start_s, start_s + len(samples) / rate))
    assert found["has_sound"] is (found["loudness"] is not None)
    return found["loudness"]


def tone(hertz: float, seconds: float = 3.0, level_db: float = 0.0, rate: int = RATE) -> np.ndarray:
    """(n, 1): a sine whose peak is ``level_db`` under full scale."""
    return 10 ** (level_db / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)[:, None]


def reference(samples: np.ndarray) -> float:
    """The Recommendation as it is written, at 48 kHz: filters sample by sample, blocks, gates."""
    powers = 0.0
    for channel in samples.T:
        for b, a in (module._SHELF, module._HIGH_PASS):
            channel = _filtered(channel, b, a)
        steps = channel[: len(channel) // 4800 * 4800].reshape(-1, 4800)
        powers = powers + (steps**2).mean(axis=1)
    blocks = np.array([np.mean(powers[i : i + 4]) for i in range(len(powers) - 3)])
    heard = blocks[-0.691 + 10 * np.log10(blocks) > -70]
    gated = heard[-0.691 + 10 * np.log10(heard) > -0.691 + 10 * np.log10(heard.mean()) - 10]
    return -0.691 + 10 * math.log10(gated.mean())


def _filtered(channel: np.ndarray, b: tuple, a: tuple) -> np.ndarray:
    x1 = x2 = y1 = y2 = 0.0
    out = []
    for x in channel.tolist():
        y = b[0] * x + b[1] * x1 + b[2] * x2 - a[1] * y1 - a[2] * y2
        x2, x1, y2, y1 = x1, x, y1, y
        out.append(y)
    return np.array(out)


# The scale


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_a_full_sine_of_997_hz_in_one_channel_has_minus_3_01(rate: int) -> None:
    assert measure(tone(997, rate=rate), rate) == pytest.approx(-3.01, abs=0.02)
    assert measure(tone(997, level_db=-20, rate=rate), rate) == pytest.approx(-23.01, abs=0.02)


def test_channels_add_up_with_their_weights() -> None:
    five = np.repeat(tone(997, level_db=-20), 6, axis=1)
    assert measure(five[:, :2]) == pytest.approx(-20.0, abs=0.02)
    weights = channel_weights(("FL", "FR", "FC", "LFE", "BL", "BR"))
    assert weights == (1.0, 1.0, 1.0, 0.0, 1.41, 1.41)
    expected = -23.01 + 10 * math.log10(3 + 2 * 1.41)
    assert measure(five, weights=weights) == pytest.approx(expected, abs=0.02)
    assert channel_weights(("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR")) == (1, 1, 1, 0, 1, 1, 1.41, 1.41)


def test_integers_are_shares_of_full_scale() -> None:
    meter, samples = Loudness(), np.rint(tone(997) * 32767).astype(np.int16)
    meter.push(0.0, samples, RATE)
    assert meter.close(span(0, 3))["loudness"] == pytest.approx(-3.01, abs=0.02)


@pytest.mark.parametrize("hertz", [31.0, 45.0, 62.5, 100.0, 440.0, 3150.0, 12000.0])
def test_tones_agree_with_the_filters(hertz: float) -> None:
    samples = tone(hertz, 1.6, -12)
    assert measure(samples) == pytest.approx(reference(samples), abs=0.02)


def music(seconds: float) -> np.ndarray:
    """(n, 2): chords of decaying notes over a beat, with rests and a quiet second half."""
    rng = np.random.default_rng(4)
    total = round(seconds * RATE)
    time = np.arange(total) / RATE
    out = np.zeros((total, 2))
    for begin in np.arange(0, seconds, 0.27):
        since = np.maximum(time - begin, 0)
        for note in rng.choice([55, 82.4, 110, 165, 220, 277, 330, 440, 880, 1760], 4, replace=False):
            voice = np.sin(2 * np.pi * note * since) * np.exp(-5 * since) * (time >= begin)
            out += 0.1 * voice[:, None] * rng.uniform(0.2, 1, 2)
        out += 0.05 * (rng.normal(0, 1, (total, 2)) * (np.exp(-40 * since) * (time >= begin))[:, None])
    out[total // 2 :] *= 0.2
    return out


def noise(seconds: float, kind: str) -> np.ndarray:
    white = np.random.default_rng(1).normal(0, 0.1, (round(seconds * RATE), 2))
    if kind == "white":
        return white
    spectrum = np.fft.rfft(white, axis=0)
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))[:, None]
    return 30 * np.fft.irfft(spectrum, axis=0)


@pytest.mark.parametrize("kind", ["white", "pink", "music", "offset"])
def test_mixed_sound_agrees_with_the_filters(kind: str) -> None:
    samples = music(3.0) if kind == "music" else noise(1.6, "white" if kind == "offset" else kind)
    if kind == "offset":
        samples = 0.2 * samples + 0.1
    assert measure(samples) == pytest.approx(reference(samples), abs=0.02)


def test_without_the_weighting_low_sound_would_be_too_loud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHELF", ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0)))
    monkeypatch.setattr(module, "_HIGH_PASS", ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0)))
    module._response.cache_clear()
    try:
        assert (measure(tone(31, 1.6)) or 0) == pytest.approx(-3.7, abs=0.1)
    finally:
        module._response.cache_clear()


# Gates and silence


def test_pauses_do_not_make_it_quieter() -> None:
    """Two seconds at −20, then eight of near silence: ungated it would be 7 LU less."""
    samples = np.concatenate([tone(997, 2.0, -20), tone(997, 8.0, -60)])
    assert measure(samples) == pytest.approx(-23.1, abs=0.4)


def test_silence_is_no_sound() -> None:
    nothing = {"has_sound": False, "loudness": None}
    assert Loudness().close(span(0, 5)) == nothing
    meter = Loudness()
    meter.push(0.0, np.zeros((5 * RATE, 2), np.float32), RATE)
    assert meter.close(span(0, 5)) == nothing
    assert measure(tone(997, 3.0, -69)) is None
    assert measure(tone(997, 3.0, -65)) == pytest.approx(-68.0, abs=0.1)


def test_a_span_hears_only_itself() -> None:
    meter = Loudness()
    for second, level in enumerate((-120, -10, -30, -120)):
        meter.push(float(second), tone(997, 1.0, level).astype(np.float32), RATE)
    assert meter.close(span(0, 1)) == {"has_sound": False, "loudness": None}
    assert meter.close(span(1, 2))["loudness"] == pytest.approx(-13.01, abs=0.05)
    assert meter.close(span(2, 3))["loudness"] == pytest.approx(-33.01, abs=0.05)
    assert meter.close(span(3, 4))["has_sound"] is False
    # 0.25 s hold two pieces, 0.15 s none.
    assert meter.close(span(1.1, 1.35))["loudness"] == pytest.approx(-13.01, abs=0.05)
    assert meter.close(span(1.15, 1.29)) == {"has_sound": None, "loudness": None}


# Time


def test_the_answer_does_not_depend_on_where_reading_began_nor_on_packets() -> None:
    sound = music(3.0)
    whole, late = Loudness(), Loudness()
    for at in range(0, len(sound), 1024):
        whole.push(at / RATE, sound[at : at + 1024].astype(np.float32), RATE)
    for at in range(33_333, len(sound), 577):
        late.push(at / RATE, sound[at : at + 577].astype(np.float32), RATE)
    assert late.close(span(1.0, 2.9)) == whole.close(span(1.0, 2.9))


def test_missing_sound_is_silence_and_keeps_the_rest_in_its_place() -> None:
    meter, sound = Loudness(), tone(997, 1.0, -20).astype(np.float32)
    meter.push(1.0, sound, RATE)
    meter.push(5.0, sound, RATE)
    assert meter.close(span(2.0, 5.0)) == {"has_sound": False, "loudness": None}
    for start in (1.0, 5.0):
        assert meter.close(span(start, start + 1))["loudness"] == pytest.approx(-23.01, abs=0.02)


def test_rounded_stamps_do_not_tear_the_sound() -> None:
    """In steps of 1 ms, as some containers have them, and a few the wrong way; the tone stays one tone."""
    rng = np.random.default_rng(0)
    meter, sound = Loudness(), tone(997, 4.0, -20).astype(np.float32)
    for at in range(0, len(sound), 1024):
        meter.push(round(at / RATE + rng.uniform(-0.008, 0.008), 3), sound[at : at + 1024], RATE)
    assert meter.close(span(0.2, 3.8))["loudness"] == pytest.approx(-23.01, abs=0.02)
    # What comes twice counts once.
    meter.push(3.5, 10 * sound[: RATE // 4], RATE)
    assert meter.close(span(3.0, 3.9))["loudness"] == pytest.approx(-23.01, abs=0.02)


def test_one_wild_stamp_does_not_deafen_the_rest() -> None:
    meter, sound = Loudness(), tone(997, 1.0, -20).astype(np.float32)
    for start in (0.0, 1.0, 1e9, 2.0, 3.0):
        meter.push(start, sound, RATE)
    assert meter.close(span(2.0, 4.0))["loudness"] == pytest.approx(-23.01, abs=0.1)


def test_the_rate_may_change_on_the_way() -> None:
    meter = Loudness()
    meter.push(0.0, np.repeat(tone(997, 2.0, -20), 2, axis=1).astype(np.float32), RATE)
    meter.push(2.0, tone(997, 2.0, -20, rate=22050).astype(np.float32), 22050)
    assert meter.close(span(0.0, 2.0))["loudness"] == pytest.approx(-20.0, abs=0.02)
    assert meter.close(span(2.0, 4.0))["loudness"] == pytest.approx(-23.01, abs=0.02)


def test_samples_that_are_no_numbers_are_left_out() -> None:
    meter, sound = Loudness(), tone(997, 4.0, -20).astype(np.float32)
    sound[[100, 60_000, 60_001, 150_000]] = np.array([np.nan, np.inf, -np.inf, 1e30], np.float32)[:, None]
    meter.push(0.0, sound, RATE)
    assert meter.close(span(0.0, 4.0))["loudness"] == pytest.approx(-23.0, abs=0.3)


def test_memory_is_ten_numbers_a_second_and_forgets() -> None:
    meter, second = Loudness(), tone(440, 1.0, -20).astype(np.float32)
    for start in range(60):
        meter.push(float(start), second, RATE)
        meter.forget(start - 5)
        assert len(meter._powers) <= 61
    assert meter.close(span(56, 60))["loudness"] == pytest.approx(-23.7, abs=0.1)


# Hearing


@pytest.fixture(autouse=True)
def _quiet() -> None:
    quiet_decoder()


def written(path: Path, codec: str, samples: np.ndarray, rate: int, layout: str, form: str) -> Path:
    """An audio file; ``samples`` ((n, channels)) are given to the encoder as ``form``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for at in range(0, len(samples), 1024):
            block = samples[at : at + 1024].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T), format="fltp", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            for resampled in av.AudioResampler(form, layout, rate).resample(frame):
                container.mux(stream.encode(resampled))
        container.mux(stream.encode(None))
    return path


def packets(path: Path) -> Iterator[tuple[av.audio.stream.AudioStream, Packet]]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        for packet in container.demux(stream):
            yield stream, packet


def hear(path: Path) -> tuple[Hearing, Loudness]:
    meter, hearing = Loudness(), None
    for stream, packet in packets(path):
        hearing = hearing or Hearing(stream, meter)
        hearing.packet(packet)
    assert hearing is not None
    return hearing, meter


@pytest.mark.parametrize(
    ("name", "codec", "form", "layout", "channels"),
    [
        ("a.m4a", "aac", "fltp", "stereo", 2),
        ("a.mka", "pcm_s16le", "s16", "stereo", 2),
        ("b.mka", "pcm_u8", "u8", "mono", 1),
        ("c.mka", "pcm_f32le", "flt", "mono", 1),
        ("d.mka", "flac", "s16", "stereo", 2),
        ("e.mka", "pcm_s24le", "s32", "mono", 1),
        ("f.mka", "mp2", "s16", "stereo", 2),
        ("g.m4a", "aac", "fltp", "5.1", 6),
    ],
)
def test_any_codec_and_sample_format_is_heard_as_loud_as_it_is(
    tmp_path: Path, name: str, codec: str, form: str, layout: str, channels: int
) -> None:
    samples = np.repeat(tone(997, 3.0, -20), channels, axis=1)
    hearing, meter = hear(written(tmp_path / name, codec, samples, RATE, layout, form))
    true = -23.01 + 10 * math.log10({1: 1, 2: 2, 6: 3 + 2 * 1.41}[channels])
    assert meter.close(span(0.3, 2.7))["loudness"] == pytest.approx(true, abs=0.2)
    assert hearing.errors == 0
    assert hearing.seconds == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "codec", "form"), [("a.m4a", "aac", "fltp"), ("f.mka", "mp2", "s16"), ("d.mka", "flac", "s16")]
)
def test_damaged_sound_never_raises_and_is_counted(tmp_path: Path, name: str, codec: str, form: str) -> None:
    path = written(tmp_path / name, codec, 0.3 * music(3.0), RATE, "stereo", form)
    rng, meter, hearing, errors = np.random.default_rng(3), Loudness(), None, 0
    for number, (stream, packet) in enumerate(packets(path)):
        hearing = hearing or Hearing(stream, meter)
        data = bytearray(bytes(packet))
        if number % 4 == 1 and data:
            for at in rng.integers(0, len(data), 1 + len(data) // 8):
                data[at] = int(rng.integers(0, 256))
        broken = Packet(bytes(data[: len(data) // 2] if number % 7 == 3 else data))
        broken.stream, broken.pts, broken.dts, broken.time_base = stream, packet.pts, packet.dts, packet.time_base
        hearing.packet(broken)
        errors = hearing.errors
    assert errors > 0
    found = meter.close(span(0.3, 2.7))
    assert found["has_sound"] is True
    assert found["loudness"] is not None
    assert -60 < found["loudness"] < 5


def test_a_meter_that_fails_is_a_defect_and_not_damage(tmp_path: Path) -> None:
    class Broken:
        def push(self, *_: object) -> None:
            raise ValueError("defect")

    path = written(tmp_path / "a.m4a", "aac", tone(997, 0.5), RATE, "mono", "fltp")

    def listen() -> None:
        for stream, packet in packets(path):
            Hearing(stream, Broken()).packet(packet)

    with pytest.raises(ValueError, match="defect"):
        listen()


def test_absurd_rates_and_formats_are_errors_and_not_sound() -> None:
    class Stream:
        """Gives one frame whatever the packet is."""

        def __init__(self, rate: int, codec_context: object = True) -> None:
            self.codec_context = codec_context
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 64), np.float32), format="fltp", layout="mono")
            frame.sample_rate = rate
            self.frame = frame

        def decode(self) -> list[av.AudioFrame]:
            return [self.frame]

    for rate, codec, errors in ((3, True, 1), (2_000_000_000, True, 1), (48000, None, 1), (48000, True, 0)):
        hearing = Hearing(Stream(rate, codec), Loudness())  # type: ignore[arg-type]
        hearing.packet(Stream(rate))  # type: ignore[arg-type]
        assert hearing.errors == errors
        assert (hearing.seconds > 0) is not bool(errors)
