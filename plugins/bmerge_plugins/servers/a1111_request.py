"""What the A1111 family is asked for a picture: a payload as the body of a request."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from bmerge import GeneratorError, Payload

__all__ = ["name_clip_skip", "request_body"]


def request_body(payload: Payload) -> dict[str, Any]:
    """Return the body of ``txt2img`` or ``img2img`` for a payload.

    Its extras go in as given, but ``{file: PATH}`` anywhere in them becomes the picture in that
    file.

    Raises:
        GeneratorError: if the extras ask for another model, for several pictures, or for a file
            that cannot be read.
    """
    extra = {name: _with_files(value, payload) for name, value in payload.extra.items()}
    overrides = dict(extra.pop("override_settings", None) or {})
    if "sd_model_checkpoint" in overrides:
        # An unknown one would be dropped without a word, a known one would be scored as the merge.
        raise GeneratorError(f"payload {payload.id!r} overrides sd_model_checkpoint", blame="study")
    for field in ("batch_size", "n_iter"):
        if extra.get(field, 1) != 1:
            message = f"payload {payload.id!r} has {field} {extra[field]}, but is one picture"
            raise GeneratorError(
                message, blame="study", hint="write several payloads with different seeds"
            )
    named = {
        "steps": payload.steps,
        "cfg_scale": payload.cfg,
        "width": payload.width,
        "height": payload.height,
        "sampler_name": payload.sampler,
    }
    return {
        "save_images": False,
        "send_images": True,
        **extra,
        "prompt": payload.prompt,
        "negative_prompt": payload.negative_prompt,
        "seed": payload.seed,
        "override_settings": overrides,
        "override_settings_restore_afterwards": False,
        **{field: value for field, value in named.items() if value is not None},
    }


def name_clip_skip(body: dict[str, Any]) -> dict[str, Any]:
    """Give ``clip_skip`` the name that it has in web UIs, where it is a setting."""
    if "clip_skip" in body:
        skip = {"CLIP_stop_at_last_layers": body.pop("clip_skip")}
        body["override_settings"] = {**body["override_settings"], **skip}
    return body


def _with_files(value: Any, payload: Payload) -> Any:
    """Replace each ``{file: PATH}`` by the file's content in base64."""
    if isinstance(value, list | tuple):
        return [_with_files(item, payload) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) != {"file"}:
        return {name: _with_files(item, payload) for name, item in value.items()}
    path = Path(str(value["file"])).expanduser()
    try:
        return base64.b64encode(path.read_bytes()).decode()
    except OSError as error:
        reason = error.strerror or str(error)
        raise GeneratorError(
            f"payload {payload.id!r}: {str(path)!r}: {reason}", blame="study"
        ) from error
