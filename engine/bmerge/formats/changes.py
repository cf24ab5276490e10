"""Names in files that hold changes of weights rather than weights: LoRAs and their kin.

A key is a layer's name and the role of a tensor in it: ``lora_unet_mid_block_….lora_up.weight`` is
the ``up`` of a layer. The same role has another spelling with each trainer; here they are told
apart once. What the roles mean is in :mod:`bmerge.lora`.
"""

from __future__ import annotations

import re
from functools import cache

__all__ = ["is_change", "role_of", "unread_network"]

_SPELLINGS = {
    "down": r"\.lora_down\.weight|\.lora_A(?:(?:\.[^.]+)?\.weight)?|(?:\.|_)lora\.down\.weight"
    r"|\.lora_linear_layer\.down\.weight|(?<=_lora[12])\.down\.weight",
    "up": r"\.lora_up\.weight|\.lora_B(?:(?:\.[^.]+)?\.weight)?|(?:\.|_)lora\.up\.weight"
    r"|\.lora_linear_layer\.up\.weight|(?<=_lora[12])\.up\.weight",
    "mid": r"\.lora_mid\.weight",
    "embedding_down": r"\.lora_embedding_A(?:\.[^.]+)*",
    "embedding_up": r"\.lora_embedding_B(?:\.[^.]+)*",
    "magnitude": r"\.lora_magnitude_vector(?:\.[^.]+)*",
    "up_bias": r"\.lora_B(?:\.[^.]+)?\.bias|\.lora_up\.bias",
    **{role: rf"\.{role}\.weight" for role in ("a1", "a2", "b1", "b2", "bm")},
    "oft_R": r"\.oft_R(?:\.[^.]+)?\.weight",
    "ia3_l": r"\.ia3_l(?:\.[^.]+)?",
    "miss_block": r"\.(?:miss|bone)_block",
    "set": r"\.set_weight|(?<=_norm)\.scale|(?<=\.norm_[qk])\.weight"
    r"|(?<=\.norm_added_[qk])\.weight",
}
"""Role → how trainers and libraries write it: kohya, PEFT, diffusers before PEFT, XLabs, BFL."""
_PLAIN = frozenset({
    "alpha", "scalar", "dora_scale", "diff", "diff_b", "diff_m", "w_norm", "b_norm",
    "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
    "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
    "reshape_weight", "oft_blocks", "rescale", "on_input", "lora_E", "vera_lambda_b",
    "vera_lambda_d", "vera_A", "vera_B", "hra_u", "boft_R", "boft_s", "delora_A", "delora_B",
    "delora_lambda", "delora_w_norm", "fourierft_spectrum", "shira_weight", "shira_indices",
    "c3a_kernel",
})  # fmt: skip
"""Roles that are written as they are called here: of LyCORIS, and of PEFT's rarer networks."""
_GLORA = (".a1.weight", ".a2.weight", ".b1.weight", ".b2.weight")
_IN_KEYS = ("lora", ".oft_", ".ia3_l", ".miss_block", ".bone_block")
_MODELS_TOO = {"set", "alpha", "scalar", "rescale", "bm"}
"""Roles that keys of models match as well."""
_ENDS_TOO = (
    *(".bm.weight", ".set_weight", "_norm.scale"),
    *(f".norm_{added}{of}.weight" for added in ("", "added_") for of in "qk"),
)
"""How such keys end, but for those that are written as they are called."""

_UNREAD = {
    "OFT of early PEFT": r".+?\.oft_r(?:\.[^.]+)*",
    "OFT of early LyCORIS": r".+?\.oft_diag",
    "T-LoRA": r".+?\.(?:[qp]_layer\.weight|lambda_layer)",
    **{
        name: rf".+?\.{name.lower().replace('-', '')}_\w+(?:\..+)?"
        for name in (
            "RandLoRA", "VB-LoRA", "GraLoRA", "HiRA", "RoAd", "WaveFT", "PVeRA", "PSOFT", "OSF",
            "TinyLoRA", "UniLoRA", "Lily", "PEANuT", "FRoD", "AdaMSS", "BEFT", "SuperTuning",
        )
    },
}  # fmt: skip
"""Networks that are known by their tensors, and not read."""


@cache
def _key() -> re.Pattern[str]:
    """Return the pattern of keys: to compile it takes as long as small merges should not wait.

    Roles are only looked for where one can begin: to try them all at each letter takes long.
    """
    spelt = "|".join(f"(?P<{role}>{spelling})" for role, spelling in _SPELLINGS.items())
    plain = "|".join([r"oft_blocks\.\d+", *sorted(_PLAIN)])
    return re.compile(rf"(?s)(?P<name>.+?)(?=[._])(?:{spelt}|\.(?P<plain>{plain}))")


def role_of(key: str) -> tuple[str, str] | None:
    """Return the layer and the role that a key names; None if it names none."""
    if not (_is_telling(key) or key.endswith(_ENDS_TOO)):
        return None
    found = _key().fullmatch(key)
    return None if found is None else (found["name"], found["plain"] or str(found.lastgroup))


def is_change(key: str) -> bool:
    """Tell whether a key is one that no model has."""
    found = role_of(key) if _is_telling(key) else None
    return found is not None and found[1] not in _MODELS_TOO


def _is_telling(key: str) -> bool:
    """Tell most keys of models from all that may be changes, in a fraction of the time."""
    known = any(word in key for word in _IN_KEYS) or key.endswith(_GLORA)
    return known or key.rpartition(".")[2] in _PLAIN


def unread_network(key: str) -> str | None:
    """Return the network that a key is of, if that is one of those that are not read."""
    return next((n for n, keys in _UNREAD.items() if re.fullmatch(keys, key, re.DOTALL)), None)
