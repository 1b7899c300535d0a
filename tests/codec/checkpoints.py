"""A small checkpoint of each family, in memory and on disk."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from natd.codec.checkpoint import Checkpoint
from natd.codec.ssl_published import PUBLISHED
from tests.codec import encodec_models, look_ahead_models, mimi_models, ssl_models


def checkpoint_of(name: str) -> Checkpoint:
    if name == "mimi":
        return mimi_models.checkpoint(mimi_models.published(**mimi_models.SMALL))
    if name == "encodec":
        return encodec_models.checkpoint(encodec_models.published(**encodec_models.SMALL))
    if name in PUBLISHED:
        return ssl_models.reference(name).checkpoint
    return look_ahead_models.published(name).checkpoint


def save(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Path:
    (folder / "config.json").write_text(json.dumps(dict(config)))
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors")
    return folder
