"""The decoder net: streaming == whole, alone == in company, and a fit that learns what the components leave out."""

import pytest
import torch
from torch import Tensor

from natd.codec.mel_decoder import RECEPTIVE, MelDecoder
from natd.codec.state import gather, scatter
from natd.training import decoder


def components(seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(1024, 128, generator=draw))[0].contiguous()
    return torch.full((1024,), -50.0), basis


def lively(width: int = 32, seed: int = 1) -> decoder.Decoder:
    """A net whose every tensor is away from where a fit begins."""
    mean, basis = components()
    net = decoder.Decoder(mean, basis, torch.full((128,), 20.0), width, seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.add_(torch.randn(tensor.shape, generator=draw) * 0.2)
    return net


def vectors(rows: int, frames: int) -> Tensor:
    return torch.randn(rows, frames, 128, generator=torch.Generator().manual_seed(2)) * 20.0


def streamed(net: decoder.Decoder, x: Tensor, layers: int) -> Tensor:
    model = MelDecoder(net.tensors(), net.mean, net.basis.T)
    state = model.initial_state(len(x))
    return torch.stack([model(x[:, t], layers, state).flatten(1) for t in range(x.shape[1])], dim=1)


@pytest.mark.parametrize("layers", [1, 4])
def test_frame_by_frame_equals_the_whole(layers):
    net, x = lively(), vectors(3, 24)
    with torch.no_grad():
        whole = net(x, torch.full((3,), layers))
    torch.testing.assert_close(streamed(net, x, layers), whole, atol=2e-3, rtol=1e-5)


def test_alone_equals_in_company():
    net, x = lively(), vectors(5, 12)
    together = streamed(net, x, 2)
    for row in range(5):
        assert torch.equal(streamed(net, x[row : row + 1], 2)[0], together[row])


def test_a_state_can_be_kept_and_taken_up_again():
    net, x = lively(), vectors(4, 10)
    model = MelDecoder(net.tensors(), net.mean, net.basis.T)
    state, other = model.initial_state(4), model.initial_state(2)
    for t in range(6):
        model(x[:, t], 4, state)
    scatter(other, torch.tensor([0, 1]), gather(state, torch.tensor([3, 1])))
    assert torch.equal(model(x[[3, 1], 6], 4, other), model(x[:, 6], 4, state)[[3, 1]])


def test_a_frame_depends_on_the_receptive_field_and_nothing_later():
    net, x = lively(), vectors(1, 40)
    changed = x.clone()
    changed[:, 10] += 50.0
    apart = (streamed(net, x, 4) != streamed(net, changed, 4)).any(2)[0]
    assert not apart[:10].any() and apart[10] and apart[10 + RECEPTIVE]
    assert not apart[10 + RECEPTIVE + 1 :].any()


def test_the_number_of_layers_matters_and_is_checked():
    net, x = lively(), vectors(1, 3)
    assert not torch.equal(streamed(net, x, 1), streamed(net, x, 2))
    with pytest.raises(ValueError, match="5 layers, expected 1 to 4"):
        streamed(net, x, 5)


def made(count: int = 6) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Sequences whose log-mel holds, beside the components, a bend and an echo of two frames before."""
    mean, basis = components()
    draw = torch.Generator().manual_seed(3)
    sequences, mels = [], []
    for i in range(count):
        layers = torch.randn(20 + 15 * i, 4, 128, generator=draw) * torch.tensor([60.0, 20.0, 8.0, 4.0])[:, None]
        total = layers.sum(1)
        echo = torch.cat([torch.zeros(2, 128), total[:-2]])
        sequences.append(layers)
        mels.append(total @ basis.T + mean + 0.5 * (echo.abs() @ basis.abs().T).clamp(max=20.0))
    return sequences, mels, mean, basis


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_fit_hears_more_than_the_components_and_repeats_exactly(bfloat16):
    sequences, mels, mean, basis = made()
    heard: list[decoder.Progress] = []
    fitted = decoder.fit(
        sequences, mels, mean, basis, steps=60, seed=4, width=48, batch=8, bfloat16=bfloat16, progress=heard.append
    )
    again = decoder.fit(sequences, mels, mean, basis, steps=60, seed=4, width=48, batch=8, bfloat16=bfloat16)
    assert all(torch.equal(fitted[name], again[name]) for name in fitted)
    assert [p.step for p in heard] == [50, 60] and heard[-1].steps_per_s > 0
    model = MelDecoder(fitted, mean, basis)
    plain, corrected = [], []
    for layers, truth in zip(sequences, mels, strict=True):
        state = model.initial_state(1)
        x = layers.sum(1)
        found = torch.stack([model(v[None], 4, state).flatten() for v in x])
        truth = truth.clamp(min=-80.0)
        corrected.append((found.clamp(min=-80.0) - truth).abs().mean())
        plain.append(((x @ basis.T + mean).clamp(min=-80.0) - truth).abs().mean())
    assert sum(corrected) < 0.8 * sum(plain)


def test_crops_count_only_what_has_its_past():
    sequences = [torch.full((30, 4, 128), 1.0), torch.full((90, 4, 128), 2.0)]
    mels = [torch.full((30, 1024), -30.0), torch.full((90, 1024), -20.0)]
    x, layers, target, counted = decoder.crops(sequences, mels, 64, torch.Generator().manual_seed(5))
    assert set(layers.tolist()) == {1, 2, 3, 4}
    short = target[:, 0, 0] == -30.0
    assert short.any() and not short.all()
    assert (counted[short].sum(1) == 30).all()
    assert set(counted[~short].sum(1).tolist()) == {float(decoder.CROP), float(decoder.CROP - RECEPTIVE)}
    assert torch.equal(x[:, 0, 0], layers * torch.where(short, 1.0, 2.0))


def test_the_loss_takes_all_silence_for_the_same():
    target = torch.tensor([-80.0, -95.0, -40.0, -40.0]).repeat(256).view(1, 1, 1024)
    found = torch.tensor([-200.0, -82.0, -100.0, -30.0]).repeat(256).view(1, 1, 1024)
    assert decoder.l1_db(found, target, torch.ones(1, 1)).item() == pytest.approx((60.0 + 10.0) / 4)
    assert decoder.l1_db(found, target, torch.zeros(1, 1)).item() == 0.0
