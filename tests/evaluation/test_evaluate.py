"""The whole table of a tokenizer whose codes are known, on made-up recordings."""

import json
import shutil
from pathlib import Path

import pytest

from natd import codec
from natd.cli import nat
from natd.errors import ConfigError, SourceError
from natd.evaluation import cost, synthetic
from natd.evaluation import evaluate as evaluation
from natd.evaluation.evaluate import evaluate
from tests.evaluation.made import write_recordings

LAYERS = ("S0", "S1", "A0")


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("audio")
    write_recordings(root)
    return root


@pytest.fixture(scope="module")
def table(audio: Path) -> dict[tuple[str, str], dict]:
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        return {(r["figure"], r["of"]): r for r in evaluate("made", audio, 0, lambda text: None)["rows"]}


def register(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(codec.BUILTIN, "made", "tests.evaluation.made:Made")
    patch.setitem(codec.BUILTIN, "decoding", "tests.evaluation.made:Decoding")
    patch.setitem(codec.BUILTIN, "bare", "tests.evaluation.made:Bare")
    patch.setitem(codec.BUILTIN, "naming", "tests.evaluation.made:Naming")
    patch.setattr(cost, "FRAMES", 20)
    patch.setattr(synthetic, "LEARNED", 2)
    patch.setattr(synthetic, "SCORED", 2)


def test_codes_that_are_the_classes_are_found_by_probe_and_by_words(table):
    for figure in ("ESC-10 probe", "ESC-10 legend only", "ESC-10 legend only, no silent frames"):
        line = table[figure, "S0"]
        assert (line["value"], line["low"], line["high"], line["n"]) == (1.0, 1.0, 1.0, 12)
        assert line["nulls"]["shuffled"] <= 0.6  # chance is 0.25 of 12 clips
    assert {of for figure, of in table if figure == "ESC-10 probe"} == {*LAYERS, "S", "A", "S+A"}
    assert table["ESC-10 probe, no silent frames", "A0"]["value"] < 0.6


def test_a_level_code_gives_the_level_back(table):
    line = table["legend only, level", "S1"]
    # Steps of 4 dB leave a variance of 16 / 12 of about 15.6.
    assert (
        0.89 < line["value"] < 0.94
        and line["nulls"]["shuffled"] < -0.5
        and line["low"] <= line["value"] <= line["high"]
    )


def test_usage_is_what_the_counter_does(table):
    assert table["codes used", "A0"]["value"] == 4
    assert table["perplexity", "A0"]["value"] == pytest.approx(4.0)
    assert table["entropy", "A0"]["value"] == pytest.approx(25.0)
    assert table["entropy", "all"]["low"] < table["entropy", "all"]["value"] < table["entropy", "all"]["high"]
    assert table["tokens", "S1"]["value"] == 25.0 and table["tokens", "all"]["value"] == 50.0
    # 20 sounding frames: 19 changes between them, one at the silence (3 to 0), of 24 places.
    assert table["changes", "A0"]["value"] == pytest.approx(20 / 24 * 12.5)
    assert 0.0 < table["changes", "S0"]["value"] < 1.0 < table["changes", "S0"]["nulls"]["shuffled"]


def test_silence_has_no_bits_and_does_not_change(table):
    for layer in LAYERS:
        assert table["entropy", layer]["nulls"]["silence"] == 0.0
        assert table["perplexity", layer]["nulls"]["silence"] == 1.0
        assert table["changes", layer]["nulls"]["silence"] == 0.0


def test_agreement_is_full_where_the_change_does_not_matter(table):
    assert table["same codes, gain -12 dB", "S0"]["value"] == 1.0
    assert table["same codes, gain -12 dB", "S1"]["value"] == 0.0
    assert table["same codes, MP3", "S0"]["value"] > 0.9
    assert table["same codes, gain -12 dB", "S0"]["nulls"]["shuffled"] < 0.5


def test_the_laws_hold_and_a_frame_costs_something(table):
    for figure in ("same codes, alone and among 8", "same codes, in odd pieces and whole"):
        assert table[figure, "all"]["value"] == 1.0
    assert {table["codes of 12 s of silence", layer]["value"] for layer in LAYERS} == {1.0}
    assert 0.0 < table["processor time a frame", "1 stream, median"]["value"] < 100.0


def test_names_of_kinds_are_scored(audio, monkeypatch):
    register(monkeypatch)
    monkeypatch.setattr(evaluation, "PARTS", {n: evaluation.PARTS[n] for n in ("legend", "kinds", "calibration")})
    result = evaluate("naming", audio, 0, lambda text: None)
    rows = {(r["figure"], r["of"]): r for r in result["rows"]}
    for answer in ("the right kind", "the right wider kind", "another kind", "unknown"):
        assert rows[f"called {answer}, by time", "S0"]["value"] == 0.25
    assert rows["called the right kind, by time", "S0, animal"]["value"] == 1.0
    assert rows["recorded music called music, by time", "S0"]["value"] == 0.0
    assert rows["first 0.56 s called a kind", "S0"]["n"] == 14
    assert rows["calibration error, called either", "S0"]["value"] == pytest.approx(0.3)
    assert rows["kind right, 25 % most confident", "S0"]["value"] == 1.0
    assert result["curves"]["S0"]["coverage"][-1] == [1.0, 0.75]
    assert rows["ESC-10 legend only", "S0"]["value"] == 0.75  # by the shares, whatever the codes are called


def test_what_cannot_be_measured_is_null_with_a_reason(table):
    for key in (("log-mel L1", "A"), ("note, exact, in words", "S"), ("false note on rain and sea, in words", "S")):
        assert table[key]["value"] is None and table[key]["low"] is None and table[key]["note"]
    # No word of S0 but "clock" has a tempo: none on rain and sea.
    assert table["false tempo on rain and sea, in words", "S0"]["value"] == 0.0


def test_notes_are_learned_by_majority_where_words_name_none(table):
    line = next(r for (figure, _), r in table.items() if figure == "note, pitch class, probe")
    assert line["n"] == 2 and "other seeds" in line["note"] and 0.0 <= line["value"] < 0.9


def test_a_tokenizer_without_words_or_semantic_layers_on_recordings_without_classes(audio, tmp_path, monkeypatch):
    register(monkeypatch)
    shutil.copytree(audio / "music", tmp_path / "music")
    rows = {(r["figure"], r["of"]): r for r in evaluate("bare", tmp_path, 0, lambda text: None)["rows"]}
    for group in ("S", "A", "S+A", "A0"):
        assert rows["ESC-10 probe", group]["value"] is None and rows["ESC-10 probe", group]["note"]
    assert all(
        r["value"] is None for (figure, _), r in rows.items() if "in words" in figure or "legend only, no" in figure
    )
    # One recording of one pitch: its entropy was measured, and is zero.
    assert rows["same codes, gain -12 dB", "A0"]["value"] == 1.0 and rows["entropy", "all"]["value"] == 0.0


def test_the_command_writes_the_same_twice_and_shows_one_table(audio, tmp_path, monkeypatch, capsys):
    register(monkeypatch)
    for name in ("one", "two"):
        words = ["eval", "tokenizer", "decoding", "--audio", str(audio), "--json", str(tmp_path / name), "--seed", "3"]
        assert nat.main(words) == 0
    result, again = (json.loads((tmp_path / name).read_text()) for name in ("one", "two"))
    for each in (result, again):
        each["rows"] = [row for row in each["rows"] if row["part"] != "cost"]  # time is not the same twice
    assert result == again and result["curves"] == {}
    assert (
        result["tokenizer"] == {"name": "decoding", "version": "1", "codebook_id": "sha256:0"} and result["seed"] == 3
    )
    assert all(r["note"] for r in result["rows"] if r["value"] is None)
    errors = [r for r in result["rows"] if r["figure"] == "log-mel L1"]
    assert [r["of"] for r in errors] == ["no layer", "A0"] and 0 < errors[0]["value"] < errors[1]["value"]
    out, said = capsys.readouterr()
    assert "ESC-10 probe" in out and "same codes, MP3" in out and "agreement" in said
    assert all(len(line) <= 170 for line in out.splitlines())


def test_faults_are_named(tmp_path, audio, capsys, monkeypatch):
    with pytest.raises(ConfigError, match="nobody"):
        evaluate("nobody", audio, 0, str)
    register(monkeypatch)
    with pytest.raises(SourceError, match="no recording"):
        evaluate("made", tmp_path, 0, str)
    assert nat.main(["eval", "tokenizer", "made", "--audio", str(tmp_path)]) == SourceError.exit_code
    assert str(tmp_path) in capsys.readouterr().err
