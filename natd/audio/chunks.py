"""From what a source delivers to whole, aligned frames for a tokenizer; a loss is a jump in the sample number."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from natd.audio.level import Level, LevelMeter
from natd.audio.mix import downmix, pick, runs
from natd.audio.resample import Resampler
from natd.errors import SourceError

GAP_S = 1.0  # a loss that goes on is declared at least this often


@dataclass(frozen=True, slots=True)
class Format:
    """Rate (Hz) and channel count of a source."""

    rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class Block:
    """Contiguous samples `[n, channels]` float32; `first` counts source samples since the start or last `FormatChange`.

    `mono_ns` is the monotonic time at which the block's last sample was available to the source.
    """

    first: int
    samples: NDArray[np.float32]
    mono_ns: int


@dataclass(frozen=True, slots=True)
class Loss:
    """Source samples [first, first + count) never arrived; `cause` is one of `wire.CAUSES`."""

    first: int
    count: int
    cause: str


@dataclass(frozen=True, slots=True)
class FormatChange:
    """The source goes on in this format, another or (away and back, a new producer) the old; its count starts at 0.

    `lost_s` is the time (s) without audio before the new format's first sample (0.0 if none was lost).
    """

    format: Format
    lost_s: float = 0.0


@dataclass(frozen=True, slots=True)
class End:
    """The source is finished: `reason` is one of `wire.END_REASONS`."""

    reason: str


SourceEvent = Block | Loss | FormatChange | End


@dataclass(frozen=True, slots=True)
class FrameChunk:
    """Frame `fi`: `samples` `[frame_samples]` float32 mono at the tokenizer's rate.

    `captured_ns`: monotonic time at which the last source sample of the frame was available; `resampled_ns`: at which
    the frame was whole.
    """

    fi: int
    samples: NDArray[np.float32]
    captured_ns: int
    resampled_ns: int


@dataclass(frozen=True, slots=True)
class GapChunk:
    """Frames [fi, fi + frames) were touched by losses that together took `lost_ms`; `cause` is that of the longest."""

    fi: int
    frames: int
    cause: str
    lost_ms: float


@dataclass(frozen=True, slots=True)
class FormatChunk:
    """Frames from here on come from a source of another format; `lost_ms` passed without audio between the two."""

    format: Format
    lost_ms: float


Chunk = FrameChunk | GapChunk | FormatChunk | End


@dataclass(slots=True)
class _Gap:
    """A gap not yet declared: frames [fi, end), `longest` and `lost` in seconds."""

    fi: int
    end: int
    cause: str
    lost: Fraction
    longest: Fraction


class FrameAssembler:
    """Cuts what a source delivers into frames and gaps that tile the frame axis; no I/O.

    Frame fi covers target samples [fi * frame_samples, (fi + 1) * frame_samples); source sample n lies at target
    position origin + n * sr / rate. A gap covers every frame that a loss touches; after it the resampler starts afresh
    at a frame boundary. At the end a partial frame is dropped. Any cutting of the same samples into blocks gives
    bit-identical frames. Holds less than one frame and what the resampler holds.

    `mix`: "mean" of all channels, or of the listed ones. Errors: SourceError where a source counts backwards, or has
    not the channels that `mix` asks for.
    """

    def __init__(
        self,
        format: Format,
        sr: int,
        frame_samples: int,
        mix: str | tuple[int, ...] = "mean",
        quality: str = "HQ",
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.sr, self.frame_samples = sr, frame_samples
        self._mix, self._quality, self._now_ns = mix, quality, now_ns
        self.counters: dict[str, int] = {"samples_in": 0, "samples_lost": 0, "samples_nonfinite": 0}
        self._frame = np.empty(frame_samples, np.float32)
        self._fi = 0  # the next frame to give, or to declare lost
        self._gap: _Gap | None = None
        self._ended = False
        self._open_format(format, Fraction(0))

    # -- what the header and the heartbeat say

    @property
    def level(self) -> Level | None:
        """Peak and rms of the latest second of the mix, dBFS; None before the first 0.1 s."""
        return self._meter.level

    @property
    def elapsed_ns(self) -> int:
        """Sample time from the start to the next sample expected, losses included, ns."""
        return int(self._position(self._expected) * 1_000_000_000 / self.sr)

    @property
    def delay_ms(self) -> float:
        """How much input after the end of a frame the resampler needs, ms."""
        return self._resampler.delay_ms

    @property
    def resampler(self) -> str:
        """Name of the resampler; "none" where the rates are equal."""
        return self._resampler.name

    # -- events in, chunks out

    def feed(self, event: SourceEvent) -> list[Chunk]:
        """Take the next event of the source; give what is now certain, in order."""
        if self._ended:
            raise SourceError("the source went on after its end")
        out: list[Chunk] = []
        if isinstance(event, Block):
            self._block(event, out)
        elif isinstance(event, Loss):
            self._jump(event.first, out)
            self._lose(event.count, event.count, event.cause, out)
        elif isinstance(event, FormatChange):
            self._change(event, out)
        else:
            self._end(event, out)
        return out

    def _block(self, block: Block, out: list[Chunk]) -> None:
        self._jump(block.first, out)
        mono = downmix(block.samples, self._picked)
        self.counters["samples_in"] += len(mono)
        self._blocks.append((block.first + len(mono), block.mono_ns))
        for start, stop, bad in runs(mono, self._frame_source):
            self._take(mono[start:stop] if bad == 0 else None, stop - start, bad, out)

    def _take(self, mono: NDArray[np.float32] | None, count: int, bad: int, out: list[Chunk]) -> None:
        """Good samples of a block, or (None) `count` samples of which `bad` are not finite."""
        if mono is None:
            self.counters["samples_nonfinite"] += bad
            self._lose(count, bad, "nonfinite", out)
            return
        self._meter.feed(mono)
        skip = max(0, self._start - self._expected)
        self._expected += count
        if skip < count:
            self._frames(self._resampler.feed(mono[skip:]), out)

    def _jump(self, first: int, out: list[Chunk]) -> None:
        """A source that jumps forward has lost what lies between; one that jumps backward is broken."""
        if first < self._expected:
            raise SourceError(f"the source went back to sample {first}, expected {self._expected}")
        if first > self._expected:
            self._lose(first - self._expected, first - self._expected, "overrun", out)

    def _lose(self, count: int, lost: int, cause: str, out: list[Chunk]) -> None:
        """Samples [expected, expected + count) are gone, `lost` of them truly."""
        if count < 0:
            raise SourceError(f"a loss of {count} samples")
        if count == 0:
            return
        self._close(out)
        self.counters["samples_lost"] += lost
        self._expected += count
        self._declare(self._position(self._expected), Fraction(lost, self.format.rate), cause, out)
        self._restart()

    def _change(self, event: FormatChange, out: list[Chunk]) -> None:
        self._close(out)
        lost = Fraction(round(event.lost_s * 1e9), 10**9)
        origin = self._position(self._expected) + lost * self.sr
        changed = event.format != self.format
        if self._gap is not None or math.ceil(origin / self.frame_samples) > self._fi:
            self._declare(origin, lost, "format_change" if changed else "device_lost", out)
        given = len(out)
        self._give_gap(out)
        self._open_format(event.format, origin)
        if changed or len(out) == given:  # the gap alone says that a source in the old format was away
            out.append(FormatChunk(event.format, float(lost * 1000)))

    def _end(self, event: End, out: list[Chunk]) -> None:
        self._close(out)
        if self._gap is not None:  # the frame cut short by the end is dropped, be it lost or not
            self._gap.end = min(self._gap.end, math.floor(self._position(self._expected) / self.frame_samples))
        self._give_gap(out)
        self._ended = True
        out.append(event)

    # -- the frame axis

    def _position(self, sample: int) -> Fraction:
        """Target position of source sample `sample`."""
        return self._origin + Fraction(sample * self.sr, self.format.rate)

    def _source(self, target: int) -> Fraction:
        """Source position of target sample `target`."""
        return (target - self._origin) * self.format.rate / self.sr

    def _open_format(self, format: Format, origin: Fraction) -> None:
        """Count afresh: sample 0 of `format` lies at target position `origin`."""
        self._picked = pick(self._mix, format.channels)
        self.format, self._origin, self._expected = format, origin, 0
        self._frame_source = max(1, self.frame_samples * format.rate // self.sr)
        self._meter = LevelMeter(format.rate)
        self._blocks: deque[tuple[int, int]] = deque()  # (end sample, time) of blocks whose frames are not all given
        self._restart()

    def _restart(self) -> None:
        """A new contiguous stretch: from the first frame boundary not before the next sample."""
        self._fi = max(self._fi, math.ceil(self._position(self._expected) / self.frame_samples))
        # Rounding down costs less than one source sample of shift; rounding up could leave the last frame short.
        self._start = math.floor(self._source(self._fi * self.frame_samples))
        self._filled = 0
        while self._blocks and self._blocks[0][0] <= self._start:
            self._blocks.popleft()
        self._resampler = Resampler(self.format.rate, self.sr, self.frame_samples, self._quality)

    def _close(self, out: list[Chunk]) -> None:
        """The stretch ends before the next sample: give its last whole frames, drop the rest."""
        whole = math.floor(self._position(self._expected) / self.frame_samples)
        if self._expected > self._start:
            self._frames(self._resampler.flush(), out, whole)

    def _frames(self, samples: NDArray[np.float32], out: list[Chunk], limit: int | None = None) -> None:
        """Fill frames with `samples`; give each that is whole, none from `limit` on."""
        at = 0
        while at < len(samples) and (limit is None or self._fi < limit):
            n = min(len(samples) - at, self.frame_samples - self._filled)
            self._frame[self._filled : self._filled + n] = samples[at : at + n]
            at, self._filled = at + n, self._filled + n
            if self._filled == self.frame_samples:
                self._filled = 0
                self._give_gap(out)
                out.append(FrameChunk(self._fi, self._frame.copy(), self._captured_ns(), self._now_ns()))
                self._fi += 1

    def _captured_ns(self) -> int:
        """When the last source sample of frame `_fi` was available."""
        end = math.ceil(self._source((self._fi + 1) * self.frame_samples))
        while len(self._blocks) > 1 and self._blocks[0][0] < end:
            self._blocks.popleft()
        stop, mono_ns = self._blocks[0]
        return mono_ns - max(0, stop - end) * 1_000_000_000 // self.format.rate

    def _declare(self, until: Fraction, lost: Fraction, cause: str, out: list[Chunk]) -> None:
        """Every frame from the last given to target position `until` is lost; losses that adjoin become one gap."""
        end = math.ceil(until / self.frame_samples)
        gap = self._gap
        if gap is not None and end > gap.end and (gap.end - gap.fi) * self.frame_samples >= GAP_S * self.sr:
            self._give_gap(out)
            gap = None
        if gap is None:
            self._gap = _Gap(self._fi, end, cause, lost, lost)
        else:
            gap.end, gap.lost = end, gap.lost + lost
            if lost > gap.longest:
                gap.cause, gap.longest = cause, lost

    def _give_gap(self, out: list[Chunk]) -> None:
        gap, self._gap = self._gap, None
        if gap is not None and gap.end > gap.fi:
            frames = gap.end - gap.fi
            # At the end a loss may reach into a frame that is dropped because it was cut short.
            lost = min(gap.lost, Fraction(frames * self.frame_samples, self.sr))
            out.append(GapChunk(gap.fi, frames, gap.cause, float(lost * 1000)))
