"""Codebooks for an encoder: fitted to it, the same again from the cache, rejected and tried again where bad."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from natd.codebooks import fit, fitting, store, validate
from natd.codebooks.fitting import Fitted, Plan, cache_key, fit_codebooks
from natd.codebooks.validate import Report
from natd.errors import ConfigError, ModelError
from tests.codebooks.toy_encoder import ToyEncoder, recordings

PLAN = Plan(codes=12, levels=3, seed=1)


def fitted(folder: Path, encoder: ToyEncoder | None = None, plan: Plan = PLAN, **more: bool) -> tuple[Fitted, str]:
    said: list[str] = []
    done = fit_codebooks("toy", encoder or ToyEncoder(), recordings(), plan, folder, said.append, **more)
    return done, "\n".join(said)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Fitted, str]:
    folder = tmp_path_factory.mktemp("codebooks")
    return folder, *fitted(folder)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_they_are_stored_for_the_encoder_and_can_be_loaded(made: tuple[Path, Fitted, str]) -> None:
    folder, done, said = made
    settings = ToyEncoder().settings()
    assert done.name == store.fitted_name("toy", settings) and not done.cached and done.backup is None
    tensors, legend, identity = store.load(folder, done.name, settings)
    assert identity == done.codebook_id
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {"S0.codes": (12, 16), "A.codes": (3, 12, 16)}
    with pytest.raises(ModelError, match="other encoder settings"):
        store.load(folder, done.name, ToyEncoder(width=24).settings())
    assert "heard 24 of 30 s" in said or "heard 30 of 30 s" in said


def test_every_layer_leaves_less_of_unheard_sound_and_less_than_codes_by_lot(made: tuple[Path, Fitted, str]) -> None:
    _, done, _ = made
    assert list(done.figures) == ["A0", "A1", "A2", "S0"]
    for layer, row in done.figures.items():
        assert row["energy"]["value"] < min(1.0, row["energy"]["null"]), layer
        assert row["silhouette"]["value"] > row["silhouette"]["null"], layer
        assert row["dead"]["value"] == row["twins"]["value"] == 0


def test_the_legend_tells_how_the_frames_of_a_code_sounded(made: tuple[Path, Fitted, str]) -> None:
    folder, done, _ = made
    _, legend, _ = store.load(folder, done.name, ToyEncoder().settings())
    entries = legend["codes"]["S0"]
    assert sum(entry["count"] for entry in entries.values()) == done.figures["S0"]["vectors"]
    level = list(legend["descriptors"]).index("level")
    assert all(" dBFS, " in entry["phrase"] and entry["means"][level] < 0 for entry in entries.values())
    counted = [sum(row["count"] for row in legend["codes"][f"A{i}"].values()) for i in range(3)]
    assert counted == [done.figures["A0"]["vectors"]] * 3


def test_the_same_again_is_taken_from_the_cache_and_refit_gives_the_same_bytes(tmp_path: Path) -> None:
    first, _ = fitted(tmp_path)
    before, encoder = bytes_of(tmp_path), ToyEncoder()
    again, _ = fitted(tmp_path, encoder)
    assert again.cached and (again.name, again.codebook_id) == (first.name, first.codebook_id)
    assert again.figures == first.figures and encoder.steps == 0
    anew, _ = fitted(tmp_path, encoder, refit=True)
    assert not anew.cached and encoder.steps > 0 and anew.codebook_id == first.codebook_id
    assert bytes_of(tmp_path) == before and anew.backup is not None
    assert bytes_of(tmp_path / "backups" / first.name / anew.backup) == before


def test_another_plan_is_fitted_and_what_was_there_is_a_backup(tmp_path: Path) -> None:
    first, _ = fitted(tmp_path)
    before = bytes_of(tmp_path)
    other, said = fitted(tmp_path, plan=replace(PLAN, seed=2))
    assert "another plan" in said and other.backup is not None
    assert other.name == first.name and other.codebook_id != first.codebook_id
    assert bytes_of(tmp_path / "backups" / first.name / other.backup) == before


def test_what_is_damaged_is_no_cache(tmp_path: Path) -> None:
    first, _ = fitted(tmp_path)
    weights = tmp_path / f"{first.name}.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    again, said = fitted(tmp_path)
    assert not again.cached and "truncated" in said and again.codebook_id == first.codebook_id
    assert again.backup is not None


def test_the_key_follows_all_that_shapes_the_codes() -> None:
    settings, heard = ToyEncoder().settings(), recordings()
    key = cache_key(settings, PLAN, heard)
    assert key == cache_key(ToyEncoder().settings(), replace(PLAN), recordings())
    others = [
        cache_key(ToyEncoder(width=8).settings(), PLAN, heard),
        *(
            cache_key(settings, replace(PLAN, **change), heard)
            for change in ({"codes": 13}, {"seed": 0}, {"levels": 2})
        ),
        cache_key(settings, replace(PLAN, layers=("A",)), heard),
        cache_key(settings, PLAN, heard[1:]),
        cache_key(settings, PLAN, [replace(heard[0], sha256="0" * 64), *heard[1:]]),
        cache_key(settings, PLAN, [replace(heard[0], name="other.wav"), *heard[1:]]),
        cache_key(settings, PLAN, [replace(heard[0], bytes=1), *heard[1:]]),
    ]
    assert len({key, *others}) == 1 + len(others) and key.startswith("sha256:")


def test_only_the_layers_that_were_asked_for(tmp_path: Path) -> None:
    done, _ = fitted(tmp_path, plan=replace(PLAN, layers=("S0",)))
    assert list(done.figures) == ["S0"]
    with pytest.raises(ConfigError, match="no layer S7: the encoder has A, S0"):
        fitted(tmp_path, plan=replace(PLAN, layers=("S0", "S7")))


def test_too_many_codes_for_the_sound_are_refused_and_nothing_is_stored(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="4000 codes need at least 8000 frames"):
        fitted(tmp_path, plan=replace(PLAN, codes=4000))
    assert list(tmp_path.iterdir()) == []


def test_vectors_that_are_all_alike_give_no_codebook(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="A0: none of 2 fits is good; the last: .*"):
        fitted(tmp_path, ToyEncoder(gain=0.0), replace(PLAN, attempts=2))
    assert list(tmp_path.iterdir()) == []


def test_a_fit_that_fails_is_tried_again_from_another_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt is spoilt; the second is not, and is what another seed gives."""
    seeds, kmeans = [], fit.kmeans

    def spoilt(x, held, k, seed, starts=3, rounds=25):
        found = kmeans(x, held, k, seed, starts, rounds)
        seeds.append(seed)
        if len(seeds) == 1:
            found.centres[4] = found.centres[3]
        return found

    monkeypatch.setattr(fit, "kmeans", spoilt)
    monkeypatch.setattr(fit, "refine", lambda x, held, found, seed: found)
    done, said = fitted(tmp_path, plan=replace(PLAN, layers=("S0",)))
    assert "S0: attempt 1 of 3 rejected" in said and "codes lie on others" in said
    assert len(set(seeds)) == 2 and done.figures["S0"]["attempts"] == 2
    manifest = json.loads((tmp_path / f"{done.name}.json").read_text())
    assert manifest["fit"]["figures"]["S0"]["attempts"] == 2


def test_the_attempts_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Report, "faults", lambda self: ["it is no good"])
    with pytest.raises(ModelError, match="A0: none of 3 fits is good; the last: it is no good"):
        fitted(tmp_path)


def test_energy_of_each_level_is_that_of_what_the_ones_before_left(made: tuple[Path, Fitted, str]) -> None:
    folder, done, _ = made
    tensors, _, _ = store.load(folder, done.name, ToyEncoder().settings())
    heard = fitting.hear(ToyEncoder(), recordings(), PLAN.vectors, PLAN.seed, lambda text: None)
    left, energy = heard.held["A"], validate.energy(heard.held["A"], heard.fit["A"].mean(0))
    for level, book in enumerate(tensors["A.codes"]):
        left = left - book[torch.cdist(left, book).argmin(1)]
        share = validate.energy(left) / energy
        assert done.figures[f"A{level}"]["energy"]["value"] == pytest.approx(share, rel=1e-3)
        energy *= share
