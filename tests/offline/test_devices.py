"""The command for each sound card."""

from natd.offline.devices import command
from natd.sources.names import DeviceInfo, resolve

USB = DeviceInfo(0, "USB Audio CODEC: Audio (hw:1,0)", "ALSA", 2, 48000.0)
TWIN = DeviceInfo(1, "USB Audio CODEC: Audio (hw:2,0)", "ALSA", 2, 48000.0)
MONO = DeviceInfo(2, "Webcam: mic (hw:3,0)", "ALSA", 1, 44100.0)
PULSE = DeviceInfo(3, "pulse", "ALSA", 32, 48000.0)


def test_the_shortest_name_that_means_it_alone():
    devices = [USB, MONO, PULSE]
    assert command(USB, devices) == "natd --device 'USB Audio CODEC'"
    assert command(PULSE, devices) == "natd --device pulse"
    assert command(USB, [USB, TWIN]) == "natd --device 'USB Audio CODEC: Audio (hw:1,0)'"


def test_rate_and_channels_where_they_are_not_the_usual():
    assert command(MONO, [USB, MONO]) == "natd --device Webcam --rate 44100 --channels 1"


def test_two_of_one_name_are_told_apart_by_index():
    devices = [PULSE, DeviceInfo(7, "pulse", "ALSA", 2, 48000.0)]
    assert command(devices[1], devices) == "natd --device 7"
    assert resolve("7", devices) == devices[1]
