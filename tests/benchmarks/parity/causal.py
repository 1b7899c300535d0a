"""Mimi and EnCodec at their published shapes."""

from __future__ import annotations

import torch
import transformers
from torch import Tensor
from transformers import EncodecModel, MimiConfig, MimiModel

from natd.codec.encodec import EnCodec
from natd.codec.mimi import Mimi
from tests.benchmarks.parity import packages
from tests.benchmarks.parity.nearest import Chain, Euclidean, Heard
from tests.benchmarks.parity.streams import Say, Watched, heard
from tests.benchmarks.parity.subject import Company, Subject, watching
from tests.codec import encodec_models, mimi_models
from tests.codec.books import among

COMPANY = Company(20, 6)
WINDOW = 250  # of the checkpoint
BOOK = among(0.5)  # which leave over most of the energy, as trained ones do
AGAINST = f"transformers {transformers.__version__}"


def mimi(options: str, samples: Tensor, _: Say) -> list[Subject]:
    """`options`: `codebooks=8`, or another `window=`, which is also compared with the usual one."""
    asked = dict(word.split("=") for word in options.split(":"))
    books, window = int(asked.get("codebooks", 8)), int(asked.get("window", WINDOW))
    model = mimi_models.published(books, samples=samples, book=BOOK)
    held = mimi_models.checkpoint(model)
    if window != WINDOW:
        wider = MimiModel(MimiConfig(sliding_window=window)).eval()
        wider.load_state_dict(model.state_dict())
        model = wider
    tokenizer = Mimi(held, options)

    def theirs(sound: Tensor) -> Heard:
        codes, latents = watching(model.encoder, lambda: mimi_models.their_codes(model, sound, books))
        return Heard(list(codes[0]), {"": latents})

    def against_usual(sound: Tensor, ours: Heard) -> str:
        usual = heard(Watched(Mimi(held)), sound)
        return f"window {WINDOW}: {first_of(ours.codes, usual.codes)}"

    subject = Subject(
        f"mimi:{options}", AGAINST, tokenizer, theirs, _mimi_chains(model, books),
        lambda codes: mimi_models.their_sound(model, _batch(codes))[0], company=COMPANY,
        more=against_usual if window != WINDOW else None,
    )  # fmt: skip
    return [subject, *packages.of_mimi(subject, held.tensors, books, window)]


def encodec(options: str, samples: Tensor, _: Say) -> list[Subject]:
    model = encodec_models.published(32, samples=samples, book=BOOK)
    held = encodec_models.checkpoint(model)
    tokenizer = EnCodec(held, options)
    books = len(tokenizer.spec.layers)

    def theirs(sound: Tensor) -> Heard:
        codes, latents = watching(model.encoder, lambda: encodec_models.their_codes(model, sound, books))
        return Heard(list(codes[0]), {"": latents})

    subject = Subject(
        f"encodec:{options}", AGAINST, tokenizer, theirs, _encodec_chains(model, books),
        lambda codes: encodec_models.their_sound(model, _batch(codes))[0],
        {f"frames={n}": lambda n=n: EnCodec(held, f"{options}:frames={n}") for n in (7, 16, 75)},
        company=COMPANY,
    )  # fmt: skip
    return [subject, *packages.of_encodec(subject, held.tensors, books)]


def first_of(codes: list[Tensor], others: list[Tensor]) -> str:
    """From which step on codes differ from others, and how many do."""
    wrong = [(a != b).nonzero()[:, 0].tolist() for a, b in zip(codes, others, strict=True)]
    if not any(wrong):
        return "no other code"
    count = sum(map(len, wrong)) / sum(map(len, codes))
    layer = min((i for i, steps in enumerate(wrong) if steps), key=lambda i: wrong[i][0])
    return f"{100 * count:.2f} % other codes, first in step {wrong[layer][0]}, layer {layer}"


def _mimi_chains(model: MimiModel, books: int) -> list[Chain]:
    chains = []
    kinds = model.quantizer.semantic_residual_vector_quantizer, model.quantizer.acoustic_residual_vector_quantizer
    for kind, layers in zip(kinds, (range(1), range(1, books)), strict=True):
        found = [layer.codebook.embed for layer in kind.layers[: len(layers)]]
        chains.append(Chain(layers, Euclidean(found, kind.input_proj.weight[:, :, 0].detach())))
    return chains


def _encodec_chains(model: EncodecModel, books: int) -> list[Chain]:
    return [Chain(range(books), Euclidean([layer.codebook.embed for layer in model.quantizer.layers[:books]]))]


def _batch(codes: list[Tensor]) -> Tensor:

    return torch.stack(codes)[None]
