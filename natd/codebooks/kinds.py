"""The kinds of sound that a scene layer names, and the wider kind that each belongs to."""

from __future__ import annotations

from types import MappingProxyType

UNKNOWN = "unknown"

WIDER = MappingProxyType(
    {
        "music": (
            "piano", "plucked strings", "bowed strings", "woodwind", "brass", "mallets", "organ", "singing",
            "ensemble", "band", "drums", "electronic music",
        ),
        "people": ("speech", "crowd", "applause", "laughter", "scream", "baby cry", "sneeze"),
        "animal": ("dog", "cat", "rooster", "birds", "insects", "farm animal"),
        "nature": ("rain", "thunder", "wind", "sea waves", "water", "fire"),
        "machine": ("chainsaw", "helicopter", "aircraft", "engine", "train", "tool"),
        "object": ("clock tick", "door", "knock", "footsteps", "glass", "impact", "creak"),
        "signal": ("alarm", "bell", "horn"),
        "blast": ("gun", "explosion"),
        "noise": ("hiss", "hum", "tone"),
    }
)  # fmt: skip
KINDS = tuple(kind for kinds in WIDER.values() for kind in kinds)
WIDER_OF = MappingProxyType({kind: wider for wider, kinds in WIDER.items() for kind in kinds})
