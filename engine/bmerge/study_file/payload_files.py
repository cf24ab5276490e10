"""Payload files as sd-webui-bayesian-merger has them: the fields of the web UI's ``txt2img``.

One file is one payload (``prompt: …``), several by name (``cats: {prompt: …}``), or a cargo: the
settings that all payloads share, and the names of their files in the folder ``cargo`` beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from bmerge.errors import nearest
from bmerge.recipe.document import Node, read_document
from bmerge.study_file.payload_settings import SETTINGS, Draft, read_count, read_seed, read_settings

__all__ = ["read_payload_file"]

_RENAMED = {
    "neg_prompt": "negative_prompt", "cfg_scale": "cfg", "sampler_index": "sampler",
    "sampler_name": "sampler", "score_weight": "weight",
}  # fmt: skip
_COUNTS = ("n_iter", "batch_count", "batch_size")
_FIELDS = """
alwayson_scripts denoising_strength disable_extra_networks distilled_cfg_scale enable_hr eta
firstphase_height firstphase_width hr_additional_modules hr_cfg hr_checkpoint_name
hr_distilled_cfg hr_negative_prompt hr_prompt hr_resize_x hr_resize_y hr_sampler_name hr_scale
hr_scheduler hr_second_pass_steps hr_upscaler image_cfg_scale init_images initial_noise_multiplier
inpaint_full_res inpaint_full_res_padding inpainting_fill inpainting_mask_invert mask mask_blur
mask_blur_x mask_blur_y override_settings refiner_checkpoint refiner_switch_at resize_mode
restore_faces s_churn s_min_uncond s_noise s_tmax s_tmin scheduler script_args script_name
seed_resize_from_h seed_resize_from_w styles subseed subseed_strength tiling
"""
_EXTRA = frozenset(_FIELDS.split())
_WITHOUT_EFFECT = {
    "denoising_strength": 0, "enable_hr": False, "eta": 0, "firstphase_height": 0,
    "firstphase_width": 0, "hr_resize_x": 0, "hr_resize_y": 0, "hr_scale": 2,
    "hr_second_pass_steps": 0, "hr_upscaler": "", "restore_faces": False, "s_churn": 0,
    "s_noise": 1, "s_tmax": 0, "s_tmin": 0, "seed_resize_from_h": -1, "seed_resize_from_w": -1,
    "styles": [], "subseed": -1, "subseed_strength": 0, "tiling": False,
}  # fmt: skip
"""What templates of payload files spell out, but happens anyway; other generators have no name
for it."""


def read_payload_file(file: Path) -> list[Draft]:
    """Read a payload file.

    Raises:
        RecipeError: with file and line, if it is not valid.
    """
    node = read_document(file, name="the payload file")
    keys = node.mapping()
    if isinstance(keys.get("defaults", node).value, list):
        shared = {key: value for key, value in keys.items() if key != "defaults"}
        return [
            _draft(payload, shared)
            for name in _cargo(keys["defaults"])
            for payload in _payloads(_cargo_file(file, name))
        ]
    return [_draft(payload, {}) for payload in _payloads(node)]


def _payloads(node: Node) -> list[Node]:
    """Return the one payload or the several of a file."""
    keys = node.mapping()
    if keys and all(isinstance(value.value, dict) for value in keys.values()):
        return list(keys.values())
    return [node]


def _cargo(defaults: Node) -> list[Node]:
    """Return the names of a cargo's payloads; ``_self_`` and the like are Hydra's business."""
    return [
        name
        for entry in defaults.sequence()
        if isinstance(entry.value, dict) and "cargo" in entry.value
        for name in entry.value["cargo"].sequence()
    ]


def _cargo_file(file: Path, name: Node) -> Node:
    folder = file.parent / "cargo"
    found = folder / f"{name.text()}.yaml"
    if not found.is_file():
        hint = nearest(name.text(), [other.stem for other in folder.glob("*.yaml")])
        raise name.error(f"there is no payload file {found}", hint)
    return read_document(found, name="the payload file")


def _draft(payload: Node, shared: Mapping[str, Node]) -> Draft:
    keys = {**_named(shared), **_named(payload.mapping())}
    prompt = keys.pop("prompt", None)
    if prompt is None or not prompt.text().strip():
        raise payload.error("the payload has no prompt")
    seed = keys.pop("seed", None)
    count = 1
    for name in _COUNTS:
        count = read_count(keys.pop(name), count) if name in keys else count
    settings = read_settings(keys)
    extra = {name: keys[name].plain() for name in keys if name in _EXTRA}
    kept = {k: v for k, v in extra.items() if v is not None and _WITHOUT_EFFECT.get(k) != v}
    settings["extra"] = {**settings.get("extra", {}), **kept}
    if seed is None or seed.value is None or seed.value == -1:  # any seed: the study's
        return Draft(prompt, prompt.text(), settings, None, count if count > 1 else None)
    first = read_seed(seed)
    return Draft(prompt, prompt.text(), settings, tuple(range(first, first + count)))


def _named(keys: Mapping[str, Node]) -> dict[str, Node]:
    """Give the keys bmerge's names; of two for the same, the better one counts."""
    known: Collection[str] = {"prompt", "seed", *SETTINGS, *_RENAMED, *_COUNTS, *_EXTRA}
    for key, node in keys.items():
        if key not in known:
            raise node.error(f"unknown key {key!r}", nearest(key, known))
    renamed = {new: keys[old] for old, new in _RENAMED.items() if old in keys}
    return {**renamed, **{key: node for key, node in keys.items() if key not in _RENAMED}}
