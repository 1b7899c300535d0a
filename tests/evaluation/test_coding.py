"""Clips to codes."""

from dataclasses import replace

import numpy as np
import torch

from natd.evaluation.coding import encode, encode_batch, groups_of, rate_of, sizes_of
from tests.evaluation.made import FRAME, SR, Made, tone
from tests.late_sum import LateSumTokenizer

CLIPS = [tone(500.0, 1, 0.8), np.zeros(100, np.float32), tone(4000.0, 2, 0.4), np.zeros(4 * FRAME + 7, np.float32)]


def test_each_clip_is_a_stream_of_its_own():
    coded = encode(Made(), CLIPS)
    assert coded.clips == 4
    assert torch.bincount(coded.clip["S0"], minlength=4).tolist() == [15, 0, 10, 4]
    assert coded.codes["S0"].tolist() == [1] * 10 + [0] * 5 + [4] * 5 + [0] * 5 + [0] * 4
    assert coded.codes["A0"][:10].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]
    for number, clip in enumerate(CLIPS):
        alone = encode(Made(), [clip])
        for layer, codes in alone.codes.items():
            assert torch.equal(codes, coded.codes[layer][coded.clip[layer] == number])


def test_silent_frames_are_marked_and_left_out():
    coded = encode(Made(), CLIPS)
    assert coded.silent["S0"].tolist() == [False] * 10 + [True] * 5 + [False] * 5 + [True] * 9
    assert coded.sounding().codes["S0"].tolist() == [1] * 10 + [4] * 5
    assert len(coded.sounding().codes["S1"]) == 30 and coded.sounding().clips == 4


def test_silence_is_a_level_without_the_mean():
    hum = np.sin(2 * np.pi * 500 * np.arange(FRAME) / SR) * 2**0.5  # RMS 1
    frames = np.concatenate([np.full(FRAME, 0.5), hum * 10 ** (-76 / 20), hum * 10 ** (-74 / 20) + 0.5])
    assert encode(Made(), [frames.astype(np.float32)]).silent["S0"].tolist() == [True, True, False]


def test_streams_share_a_batch_only_where_that_changes_nothing():
    class Counting(Made):
        def __init__(self, invariant: bool) -> None:
            super().__init__()
            self.spec = replace(self.spec, info=replace(self.spec.info, batch_invariant=invariant))
            self.batches: set[int] = set()

        def encode(self, chunk, state):
            self.batches.add(len(chunk))
            return super().encode(chunk, state)

    for invariant, batches in ((True, {4}), (False, {1})):
        tokenizer = Counting(invariant)
        encode(tokenizer, CLIPS)
        assert tokenizer.batches == batches


def test_shuffled_codes_are_the_same_codes_elsewhere():
    coded = encode(Made(), CLIPS)
    mixed = coded.shuffled(torch.Generator().manual_seed(0))
    for layer, codes in coded.codes.items():
        assert torch.equal(codes.sort().values, mixed.codes[layer].sort().values)
    assert not torch.equal(coded.codes["S0"], mixed.codes["S0"])


def test_what_the_spec_says():
    spec = Made().spec
    assert groups_of(spec) == {"S": ["S0", "S1"], "A": ["A0"], "S+A": ["S0", "S1", "A0"]}
    assert sizes_of(spec) == {"S0": 5, "S1": 32, "A0": 4}
    assert (rate_of(spec, "S0"), rate_of(spec, "S1")) == (SR / FRAME, 2 * SR / FRAME)


def test_codes_that_come_late_are_those_of_their_own_frames():
    late = LateSumTokenizer()
    frame = late.spec.frame_samples
    [long, short] = encode_batch(late, [np.ones(3 * frame, np.float32), np.ones(frame, np.float32)])
    assert (long[0].tolist(), short[0].tolist()) == ([8, 16, 24], [8])
