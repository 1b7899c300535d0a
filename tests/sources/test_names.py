"""What a selector means."""

import pytest

from natd.sources.names import AmbiguousDevice, DeviceInfo, NoSuchDevice, resolve

NAMES = [
    "HDA Intel PCH: ALC257 Analog (hw:0,0)",
    "USB Audio: - (hw:1,0)",
    "USB Audio: #1 (hw:1,1)",
    "Scarlett 2i2: USB Audio (hw:10,0)",
    "Loop: PCM (hw:2,1)",
    "pulse",
    "default",
]
DEVICES = [DeviceInfo(i * 2, name, "ALSA", 2, 48000.0) for i, name in enumerate(NAMES)]


@pytest.mark.parametrize(
    ("selector", "index"),
    [
        (0, 0),
        ("2", 2),
        ("hw:0", 0),
        ("hw:1", 2),  # as ALSA means it: device 0, and not card 10
        ("hw:1,0", 2),
        ("hw:1,1", 4),
        ("hw:10", 6),
        ("hw:2", 8),  # the card's only device
        ("scarlett", 6),
        ("ALC257", 0),
        ("default", 12),
        ("pulse, ALSA", 10),
        ("USB Audio: - (hw:1,0)", 2),
    ],
)
def test_one(selector, index):
    assert resolve(selector, DEVICES).index == index


def test_the_default():
    assert resolve(None, DEVICES, 10).name == "pulse"
    with pytest.raises(NoSuchDevice, match="'the default'"):
        resolve(None, DEVICES, -1)


@pytest.mark.parametrize("selector", [1, "3", 99, -5, "hw:3", "hw:0,1", "hw:2,0", "nonesuch"])
def test_none(selector):
    with pytest.raises(NoSuchDevice, match=r"there are: \[0\] HDA Intel"):
        resolve(selector, DEVICES)


def test_several_are_listed():
    with pytest.raises(AmbiguousDevice) as caught:
        resolve("usb audio", DEVICES)
    assert all(name in str(caught.value) for name in NAMES[1:4])
    assert NAMES[0] not in str(caught.value)


def test_the_plain_names_of_a_virtual_card():
    devices = [DeviceInfo(0, "hw:1,0", "ALSA", 32, 44100.0), DeviceInfo(1, "hw:10,0", "ALSA", 32, 44100.0)]
    assert [resolve(s, devices).index for s in ("hw:1", "hw:1,0", "hw:10", "HW:10,0")] == [0, 0, 1, 1]
