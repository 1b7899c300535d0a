"""`nat codebook` and `nat models`: codebooks, and weights that do not come with natd."""

from __future__ import annotations

import argparse
from pathlib import Path

from natd.cli.verbs import Adds, Verbs, count, seed, verb

# ---- codebooks


def _add_codebook_show(verbs: Verbs) -> None:
    about = "what the codes of a tokenizer mean"
    p = verb(verbs, "show", codebook_show, about, "nat codebook show ears S1:37")
    p.add_argument("tokenizer", metavar="NAME", help="tokenizer, e.g. ears")
    p.add_argument("code", nargs="?", metavar="LAYER[:CODE]", help="one layer, or one code of it (default: all)")


def codebook_show(args: argparse.Namespace) -> int:
    """The glossary: layer, code, phrase."""
    from natd.offline.codebook import show

    return show(args.tokenizer, args.code)


def _add_codebook_fit(verbs: Verbs) -> None:
    about = "fit codebooks to what an encoder gives for a folder of recordings; the same again is not fitted again"
    p = verb(verbs, "fit", codebook_fit, about, "nat codebook fit hubert --audio recordings/ --codes 512")
    p.add_argument("name", metavar="NAME", help="encoder: hubert, wavlm, wav2vec2 or mert, with options; or ears")
    p.add_argument("--audio", type=Path, required=True, metavar="DIR", help="folder of recordings")
    p.add_argument("--codes", type=count, default=512, metavar="N", help="codes of each layer (default: 512)")
    some = "of ears: S0 or A alone (default: both); the others need all of theirs"
    p.add_argument("--layers", nargs="+", default=(), metavar="LAYER", help=some)
    p.add_argument("--seed", type=seed, default=0, metavar="N", help="seed of all that is drawn (default: 0)")
    p.add_argument("--refit", action="store_true", help="fit anew even if the same codebooks are there")


def codebook_fit(args: argparse.Namespace) -> int:
    """Codebooks in the models folder and their figures; how it goes on standard error."""
    from natd.codebooks.fitting import Plan
    from natd.offline.fitted import fit

    plan = Plan(codes=args.codes, layers=tuple(args.layers), seed=args.seed)
    return fit(args.name, args.audio, plan, args.refit)


def _add_codebook_verify(verbs: Verbs) -> None:
    about = "compare fitted codebooks with their recorded hashes and shapes, and look at every code"
    p = verb(verbs, "verify", codebook_verify, about, "nat codebook verify hubert")
    p.add_argument("names", nargs="*", metavar="NAME", help="which encoders (default: all that have codebooks)")


def codebook_verify(args: argparse.Namespace) -> int:
    """One line each; 65 if one is not what was recorded."""
    from natd.offline.fitted import verify

    return verify(args.names)


def _add_codebook_backups(verbs: Verbs) -> None:
    about = "what fitted codebooks were before they were written over, and the way back"
    p = verb(verbs, "backups", codebook_backups, about, "nat codebook backups hubert --restore 20260102T030405Z")
    p.add_argument("name", metavar="NAME", help="encoder, or the whole name of its codebooks")
    p.add_argument("--restore", metavar="STAMP", help="put this backup back; what is there becomes one")


def codebook_backups(args: argparse.Namespace) -> int:
    """One line a backup, or the one that is back."""
    from natd.offline.fitted import list_backups

    return list_backups(args.name, args.restore)


# ---- weights


def _add_models_list(verbs: Verbs) -> None:
    verb(
        verbs,
        "list",
        models_list,
        "what is installed, how to get what is not, what to type as --tokenizer",
        "nat models list",
    )


def models_list(args: argparse.Namespace) -> int:
    """One line a model."""
    from natd.offline.models import print_models

    return print_models()


def _add_models_fetch(verbs: Verbs) -> None:
    about = "download weights from the hub, or see that what is installed is still what is published"
    p = verb(verbs, "fetch", models_fetch, about, "nat models fetch mimi")
    p.add_argument("names", nargs="+", metavar="NAME", help="models, as `nat models list` names them")
    p.add_argument("--accept-new", action="store_true", help="take files that have changed since they were recorded")


def models_fetch(args: argparse.Namespace) -> int:
    """Weights and their record in the models folder; 65 if they do not come, or are others than were recorded."""
    from natd.offline.models import fetch

    return fetch(args.names, args.accept_new)


def _add_models_verify(verbs: Verbs) -> None:
    p = verb(verbs, "verify", models_verify, "compare weights with their recorded hashes", "nat models verify")
    p.add_argument("names", nargs="*", metavar="NAME", help="which models (default: all installed)")


def models_verify(args: argparse.Namespace) -> int:
    """One line a model; 65 if one is not what was recorded."""
    from natd.offline.models import verify

    return verify(args.names)


def _add_models_convert(verbs: Verbs) -> None:
    about = "make a tokenizer's weights from its authors' files, in a process of its own"
    p = verb(verbs, "convert", models_convert, about, "nat models convert soundstream --from lyra/model_coeffs")
    p.add_argument("name", metavar="NAME", help="model, as `nat models list` names it")
    p.add_argument("--from", dest="source", type=Path, required=True, metavar="FOLDER", help="folder of those files")


def models_convert(args: argparse.Namespace) -> int:
    """Weights and manifest in the models folder."""
    from natd.offline.models import convert

    return convert(args.name, args.source)


CODEBOOK: Adds = (_add_codebook_show, _add_codebook_fit, _add_codebook_verify, _add_codebook_backups)
MODELS: Adds = (_add_models_list, _add_models_fetch, _add_models_verify, _add_models_convert)
