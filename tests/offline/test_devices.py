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


def test_channels_where_there_are_fewer_than_usual():
    assert command(MONO, [USB, MONO]) == "natd --device Webcam --channels 1"


def test_a_name_that_is_a_card_number_stays_whole():
    card = DeviceInfo(0, "hw:1,0", "ALSA", 2, 48000.0)
    assert command(card, [card, PULSE]) == "natd --device hw:1,0"


def test_two_of_one_name_are_told_apart_by_index():
    devices = [PULSE, DeviceInfo(7, "pulse", "ALSA", 2, 48000.0)]
    assert command(devices[1], devices) == "natd --device 7"
    assert resolve("7", devices) == devices[1]
