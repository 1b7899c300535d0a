"""Which capture device a selector means: by name first, since indices and card numbers change on replugging."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

Selector = str | int | None

_CARD = re.compile(r"hw:(\d+)(?:,(\d+))?")


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A capture device as PortAudio lists it; `channels` and `rate` (Hz) are what it says of itself, not a promise."""

    index: int
    name: str
    hostapi: str
    channels: int
    rate: float


class NoSuchDevice(LookupError):
    """Nothing matches now; the device may come later. The message lists what there is."""


class AmbiguousDevice(LookupError):
    """Several match; the message lists them."""


def resolve(selector: Selector, devices: Sequence[DeviceInfo], default: int = -1) -> DeviceInfo:
    """The one device that `selector` means among `devices` (those that capture).

    None is the default device; a number (also as text) an index; a text the exact name, else `hw:N` or `hw:N,M` as
    ALSA understands it, else a part of "name, hostapi" in any case. Errors: NoSuchDevice, AmbiguousDevice.
    """
    if selector is None:
        selector = default
    if isinstance(selector, str) and selector.isdecimal():
        selector = int(selector)
    if isinstance(selector, int):
        return _only([d for d in devices if d.index == selector], "the default" if selector < 0 else selector, devices)
    exact = [d for d in devices if selector in (d.name, f"{d.name}, {d.hostapi}")]
    if exact:
        return _only(exact, selector, devices)
    card = _CARD.fullmatch(selector)
    if card:
        on_card = [d for d in devices if any(m[1] == card[1] for m in _CARD.finditer(d.name))]
        device = card[2] or "0"
        same = [d for d in on_card if any(m[2] in (device, None) for m in _CARD.finditer(d.name))]
        return _only(same or (on_card if card[2] is None else []), selector, devices)
    part = selector.lower()
    return _only([d for d in devices if part in f"{d.name}, {d.hostapi}".lower()], selector, devices)


def _only(found: Sequence[DeviceInfo], selector: str | int, devices: Sequence[DeviceInfo]) -> DeviceInfo:
    if len(found) == 1:
        return found[0]
    if found:
        raise AmbiguousDevice(f"{selector!r} means several devices: {_listed(found)}; use a longer part of the name")
    raise NoSuchDevice(f"no capture device matches {selector!r}; there are: {_listed(devices) or 'none'}")


def _listed(devices: Sequence[DeviceInfo]) -> str:
    return "; ".join(f"[{d.index}] {d.name}, {d.hostapi}" for d in devices)
