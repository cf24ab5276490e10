"""The short form of an architecture's file: a transformer is its layers, and what is around them.

``layers`` says how the keys of each family of repeated layers start, and the letters before their
numbers; ``out`` how those behind the layers start, which are in OUT; ``encoders`` which block is
which text encoder, by the start of its name in files of ComfyUI. All other keys of the picture
model are in the block ``before``, IN where it is not given; those of the VAE in VAE. So each
picture model has the same blocks under all prefixes and in both of its layouts.
"""

from __future__ import annotations

from typing import Any

__all__ = ["STACK", "written_out"]

STACK = frozenset({"layers", "out", "encoders", "before"})
"""Fields of the short form."""

_ENCODERS = (
    "(text_encoders|text_encoder|text_encoder_2|text_encoder_3|text_encoder_4|conditioner|"
    "cond_stage_model|clip_vision|clip_l_vision|image_encoder)."
)
_VAE = "(first_stage_model|vae|audio_vae|vocoder|pretransform)."


def written_out(data: dict[str, Any]) -> dict[str, Any]:
    """Return the long form of an architecture's file."""
    before = data.get("before", "IN")
    layers = data["layers"]
    encoders = data.get("encoders", {})
    rules = {f"text_encoders.{name}": block for block, name in encoders.items() if name}
    rules[_ENCODERS] = [*encoders, before][max(0, len(encoders) - 1)]
    rules[_VAE] = "VAE"
    rules |= {f"~{names}.{{i}}.": f"{letters}{{i:02}}" for names, letters in layers.items()}
    rules |= dict.fromkeys((f"~{start}" for start in data["out"]), "OUT")
    count = {"text_encoders": len(encoders)} if encoders else {}
    numbered = [f"{letters}{{i:02}}" for letters in layers.values()]
    return {
        **count,
        **data,
        "blocks": [*encoders, before, *numbered, "OUT", "VAE"],
        "rules": {**rules, "": before},
    }
