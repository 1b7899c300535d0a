"""`nat train ears`: make sounds, train nets, fit codebooks, name the codes, measure, write weights and card.

Every stage leaves its result in `OUT/work`; a run that was stopped goes on behind the last stage that is there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from natd.codebooks import store
from natd.codec import ears
from natd.codec.devices import present
from natd.codec.threads import one_thread
from natd.errors import OutputError
from natd.evaluation import evaluate
from natd.training import (
    acoustic,
    card,
    corpus,
    decoder,
    dynamics,
    harmony,
    legend,
    midi,
    open_world,
    rhythm,
    scene,
    scene_codes,
    speech,
)
from natd.training import shards as shards_of
from natd.training.recordings import Clip, clips_of, samples_of
from natd.training.shards import Shard
from natd.training.stages import Plan, Run, Tensors, keep

Progress = Callable[[str], None]
TOGETHER = 16  # recordings side by side


def train(
    audio_dir: Path, out: Path, seed: int, threads: int, progress: Progress, plan: Plan | None = None,
    device: str = "cpu",
) -> dict[str, Any]:  # fmt: skip
    """Write weights, legend, manifest and card to `out`; returns the figures of the training.

    SourceError without recordings, ConfigError where fluidsynth, its soundfont or espeak-ng is missing.
    """
    # Asked for now: the first of these to be missed would else be missed after minutes.
    clips_of(audio_dir), midi.soundfont(), speech.program(), present(device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        try:
            out.joinpath("work").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{out}: {error.strerror}: nothing can be written there") from error
        run = Run(audio_dir, out / "work", seed, threads, progress, plan or Plan(), device)
        manifest, figures = weights(run, out)
        return measured(run, out, manifest, figures)
    finally:
        torch.set_num_threads(before)


def weights(run: Run, out: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """All stages up to weights and legend in `out`; their manifest, and the figures of what the nets never heard."""
    harmony_net = run.stage("harmony", lambda: _harmony(run))
    rhythm_net = run.stage("rhythm", lambda: _rhythm(run))
    began = time.monotonic()
    plan = run.plan
    paths = shards_of.make(run.audio_dir, run.work / "corpus", run.seed, run.threads, run.progress, plan.amounts)
    run.took("corpus", time.monotonic() - began)
    scenes, closest, figures = _scene(run, paths)
    recorded = [shards_of.read(p) for p in paths if p.name.startswith("recorded")]
    levels = run.stage("dynamics", lambda: _dynamics(run, recorded))
    codebooks = run.stage("acoustic", lambda: _acoustic(run, paths))
    tensors = harmony_net | rhythm_net | scenes | levels | codebooks
    tensors |= run.stage("decoder", lambda: _decoder(run, codebooks))
    tensors = shipped(tensors)
    began = time.monotonic()
    with one_thread():
        words = _legend(run, tensors, closest)
    manifest = store.save(out, ears.NAME, ears.SETTINGS, tensors, words)
    run.took("legend", time.monotonic() - began)
    run.progress(f"codebook_id {manifest['codebook_id']}")
    return manifest, figures


def measured(run: Run, out: Path, manifest: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """Measure what `out` holds, and write its figures and card there; the figures, and the seconds of all stages."""
    began = time.monotonic()
    tokenizer = ears.open_tokenizer(folder=out)
    found = evaluate.evaluate(ears.NAME, run.audio_dir, run.seed, run.progress, tokenizer)
    told = {**figures, "evaluation": found, "seconds": run.took("evaluation", time.monotonic() - began)}
    (out / f"{ears.NAME}.figures.json").write_text(json.dumps(told, indent=1) + "\n")
    text = card.write(told, clips_of(run.audio_dir), run.audio_dir, manifest, run.seed, run.threads)
    (out / f"{ears.NAME}.md").write_text(text)
    run.progress(f"{told['seconds'] / 60:.0f} min in all")
    return told


def shipped(tensors: Mapping[str, Tensor]) -> Tensors:
    """Large matrices as float16, but for the small nets of S1 and S2; vectors and small matrices as they are."""

    def halved(name: str, tensor: Tensor) -> bool:
        large = tensor.is_floating_point() and tensor.ndim > 1 and tensor.numel() > 4096
        return large and not name.startswith(("S1.", "S2."))

    return {name: t.half() if halved(name, t) else t for name, t in tensors.items()}


# ---- S1 and S2


def _harmony(run: Run) -> Tensors:
    plan, folder = run.plan, run.work / "harmony"
    return harmony.fit(
        run.audio_dir, run.seed, run.progress, folder, plan.harmony_pieces, plan.harmony_steps, run.threads, run.device
    )


def _rhythm(run: Run) -> Tensors:
    plan, folder = run.plan, run.work / "rhythm"
    return rhythm.fit(
        run.audio_dir, folder, run.seed, run.progress, plan.rhythm_pulses, plan.rhythm_pieces, plan.rhythm_rounds
    )


# ---- S0


def _scene(run: Run, paths: Sequence[Path]) -> tuple[Tensors, legend.Closest, dict[str, Any]]:
    about = run.work / f"scene-{run.key}.json"
    made: list[dict[str, Any]] = []

    def make() -> Tensors:
        shards = [shards_of.read(path) for path in paths]
        nets = open_world.train_nets(shards, run.plan.fold_steps, run.seed, run.progress, run.device)
        unseen = open_world.judge(nets, shards)
        doubt = scene_codes.doubt_of(unseen.known)
        figures = open_world.figures(unseen, doubt)
        for name in ("known", "left out"):
            run.progress(f"{name}: { {k: v for k, v in figures[name].items() if k != 'by kind'} }")
        lesson = scene.lesson(shards, lambda shard, i: True)
        net = scene.fit(lesson, run.plan.scene_steps, run.seed, run.progress, run.device)
        everything = [torch.ones(len(s.kinds), dtype=torch.bool) for s in shards]
        judged = scene_codes.judge(net, shards, everything, unseen.temperature)
        cells, near = scene_codes.fit_cells(judged, doubt, run.seed)
        closest = scene_codes.confident(
            scene_codes.closest(unseen.known, doubt),
            scene_codes.closest(open_world.as_recorded(unseen.known), doubt),
        )
        made.append({"figures": figures, "closest": scene_codes.by_code(closest, judged, doubt, cells)})
        about.write_text(json.dumps(made[0]))
        return scene_codes.tensors(net, unseen.temperature, doubt, cells, near)

    tensors = run.stage("scene", make)
    kept = json.loads(about.read_text())
    return tensors, {int(code): shares for code, shares in kept["closest"].items()}, {"scene": kept["figures"]}


# ---- S3 and A


def _dynamics(run: Run, recorded: Sequence[Shard]) -> Tensors:
    table = torch.cat([s.descriptors for s in recorded])
    silent = torch.cat([s.silent for s in recorded])
    take, first = [], 0
    for s in recorded:
        take.append(s.take + first)
        first += len(s.kinds)
    return dynamics.fit_dynamics(table[~silent], table, silent, torch.cat(take), run.seed, run.progress)


def _acoustic(run: Run, paths: Sequence[Path]) -> Tensors:
    mels = [shards_of.read(p, mel=True).log_mel for p in paths if p.name.split("-")[0] in shards_of.WITH_MEL]
    x = torch.cat(mels)
    x = x[(x > acoustic.FLOOR_DB).any(1)]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(run.seed))
    held = len(x) // 16
    chosen = order[held : held + run.plan.acoustic_frames]
    run.progress(f"acoustic layers: {len(chosen)} of {len(x)} frames")
    return acoustic.fit_codebooks(x[chosen], x[order[:held]][:8192], run.seed, run.progress, run.plan.acoustic_size)


def _decoder(run: Run, codebooks: Tensors) -> Tensors:
    sequences, mels = [], []
    mean, basis, books = (codebooks[f"A.{name}"].float() for name in ("mean", "basis", "codes"))
    for number, log_mel in enumerate(_mels(run)):
        gain = torch.zeros(2)
        gain[1] = float(torch.empty(1).uniform_(-15.0, 6.0, generator=torch.Generator().manual_seed(number)))
        for db in gain.tolist():
            y = (log_mel + db).clamp(min=acoustic.FLOOR_DB)
            sequences.append(acoustic.quantized(acoustic.components(y, mean, basis), books).half())
            mels.append(y.half())
    run.progress(f"decoder: {len(mels)} sequences, {sum(len(m) for m in mels)} frames")

    def told(now: decoder.Progress) -> None:
        if now.step % 250 == 0:
            run.progress(f"decoder: step {now.step} of {now.steps}, {now.loss_db:.3f} dB, {now.steps_per_s:.1f}/s")

    plan = run.plan
    return decoder.fit(
        sequences, mels, mean, basis, steps=plan.decoder_steps, seed=run.seed, width=plan.decoder_width,
        threads=run.threads, device=run.device, progress=told, bfloat16=True,
    )  # fmt: skip


def _mels(run: Run) -> Iterator[Tensor]:
    """Log-mel [T, 1024] of every recording as it is."""
    path = run.work / f"mels-{run.key}.safetensors"
    if not path.is_file():
        clips = corpus.fit_clips(run.audio_dir)
        kept: Tensors = {}
        for at in range(0, len(clips), 4 * TOGETHER):
            part = clips[at : at + 4 * TOGETHER]
            for i, heard in enumerate(shards_of.hear_takes([_take(clip) for clip in part])):
                kept[f"{at + i:06d}"] = heard.log_mel.flatten(1)
            run.progress(f"decoder: heard {at + len(part)} of {len(clips)} recordings")
        keep(path, kept)
    for _, log_mel in sorted(load_file(path).items()):
        yield log_mel.float()


def _take(clip: Clip) -> corpus.Take:
    samples = samples_of(clip.path, seconds=corpus.LONGEST_S)
    return corpus.Take(samples, corpus.allowed(clip), corpus.group_of(clip), corpus.origin(clip))


# ---- words


@torch.no_grad()
def _legend(run: Run, tensors: Tensors, closest: legend.Closest) -> dict[str, Any]:
    """What each code was chosen by on the recordings that were fitted on, through the codec itself."""
    draft = ears.Ears(tensors, legend.empty(), "draft")
    codes: dict[str, list[Tensor]] = {name: [] for name in (*ears.SEMANTIC, *ears.ACOUSTIC)}
    descriptors, take, origin = [], [], []
    clips = sorted(corpus.fit_clips(run.audio_dir), key=lambda c: c.path.stat().st_size)
    for at in range(0, len(clips), TOGETHER):
        takes = [_take(clip) for clip in clips[at : at + TOGETHER]]
        chunks, counts = shards_of.framed([t.samples for t in takes])
        state = draft.initial_state(len(takes))
        for f in range(max(counts)):
            heard = draft.hear(chunks[:, f].contiguous(), state)
            said = draft.quantize(heard, state)
            on = torch.tensor([f < count for count in counts])
            for name, code in zip(codes, said, strict=True):
                codes[name].append(code[on, 0])
            descriptors.append(heard.descriptors[on])
            take.append(torch.arange(len(takes))[on] + at)
        origin += [t.origin for t in takes]
        if at % (10 * TOGETHER) == 0:
            run.progress(f"legend: {at} of {len(clips)} recordings")
    joined = {name: torch.cat(parts) for name, parts in codes.items()}
    phrases, middles = draft.harmony.names(), dynamics.middles(tensors)
    return legend.make(joined, torch.cat(descriptors), origin, torch.cat(take), closest, phrases, middles)
