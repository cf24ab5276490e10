"""The components of a model: the picture model, each text encoder, the VAE, and what else there is.

By the starts of keys, which the writers of files have in common, whatever the architecture.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from bmerge.architectures.architecture import Architecture
from bmerge.formats.prefixes import OF_VAES, is_part_file

__all__ = ["IMAGE_ENCODER", "MODEL", "TEXT_ENCODER", "VAE", "component_of", "components_of"]

MODEL = "picture model"
VAE = "VAE"
TEXT_ENCODER = "text encoder"
IMAGE_ENCODER = "image encoder"

_RULES = (
    (r"model_ema\.|ema\.|ema_model\.|unet_ema\.", "EMA"),
    (r"first_stage_model\.|vae\.|pretransform\.", VAE),
    (r"audio_vae\.", "audio VAE"),
    (r"vocoder\.", "vocoder"),
    (r"control_model\.", "ControlNet"),  # beside its model, as the first ones were published
    (r"clip_vision\.|clip_l_vision\.|image_encoder\.", IMAGE_ENCODER),
    (r"conditioner\.(?:main_image_encoder|embedders\.0\.open_clip)\.", IMAGE_ENCODER),
    (r"text_encoders\.(?P<name>[^.]+)\.", TEXT_ENCODER),
    (r"conditioner\.embedders\.(?P<number>\d+)\.", TEXT_ENCODER),
    (r"text_encoder(?:_(?P<place>\d+))?\.|cond_stage_model\.", TEXT_ENCODER),
)
_STARTS = [(re.compile(start), name) for start, name in _RULES]
_VAE_KEY = re.compile(rf"(?:{'|'.join(OF_VAES)})(?:\.|$)")
_TEXT_KEY = re.compile(
    r"encoder\.(?:layers\.\d+\.(?:self_attn|layer_norm|mlp)|block\.\d+\.layer\.|embed_tokens\.|final_layer_norm\.)"
)
"""How keys of text encoders start; a VAE has none of these."""
_WEIGHTLESS = re.compile(r"v_pred|ztsnr|edm_mean|edm_std|edm_vpred\.\w+|scaled_fp8|\w+_info")


def components_of(
    keys: Collection[str], architecture: Architecture | None = None
) -> dict[str, str]:
    """Return each key's component; one that nothing tells apart is of the picture model.

    Args:
        keys: of one file.
        architecture: of it; what is known for no picture model is just called a model.
    """
    if is_part_file(keys):
        return {key: _component(key) or _of_part_file(key) for key in keys}
    known = architecture is None or architecture.text_encoders is not None
    model = MODEL if known else "model"
    return {key: component_of(key, model) for key in keys}


def component_of(key: str, model: str = MODEL) -> str:
    """Return the component of a key in a file that holds a model.

    Args:
        key: the key.
        model: what the model is called, whose keys nothing tells apart.
    """
    return _component(key) or ("marker" if _WEIGHTLESS.fullmatch(key) else model)


def _component(key: str) -> str:
    for start, name in _STARTS:
        found = start.match(key)
        if found is not None:
            more = next((text for text in found.groupdict().values() if text is not None), "")
            more = str(int(more) + 1) if "number" in found.groupdict() else more
            return f"{name} {more}".rstrip()
    return ""


def _of_part_file(key: str) -> str:
    vae = _VAE_KEY.match(key) and not _TEXT_KEY.match(key)
    return VAE if vae else TEXT_ENCODER
