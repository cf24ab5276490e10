"""Samplers by the names that the web UIs use, as diffusers' schedulers.

A name may end with its noise schedule (``DPM++ 2M Karras``), or that is given apart.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from bmerge import GeneratorError, nearest

__all__ = ["make_scheduler"]

_SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "DDIM": ("DDIMScheduler", {}),
    "DDPM": ("DDPMScheduler", {}),
    "DEIS": ("DEISMultistepScheduler", {}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++ 3M": ("DPMSolverMultistepScheduler", {"solver_order": 3}),
    "DPM++ SDE": ("DPMSolverSinglestepScheduler", {}),
    "DPM2": ("KDPM2DiscreteScheduler", {}),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", {}),
    "Euler": ("EulerDiscreteScheduler", {}),
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "Heun": ("HeunDiscreteScheduler", {}),
    "LCM": ("LCMScheduler", {}),
    "LMS": ("LMSDiscreteScheduler", {}),
    "PLMS": ("PNDMScheduler", {"skip_prk_steps": True}),
    "UniPC": ("UniPCMultistepScheduler", {}),
}
_SCHEDULES: dict[str, dict[str, Any]] = {
    "automatic": {},
    "normal": {},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
    "sgm uniform": {"timestep_spacing": "trailing"},
}


def make_scheduler(config: Mapping[str, Any], sampler: str | None, schedule: str | None) -> Any:
    """Return a scheduler for one picture.

    Args:
        config: of the pipeline's own scheduler.
        sampler: a web UI's name, with or without its noise schedule; None keeps the pipeline's.
        schedule: the noise schedule: ``karras``, …; None takes that of the name.

    Raises:
        GeneratorError: if there is no such sampler or schedule, or it does not go with the model.
    """
    import diffusers

    own = str(config["_class_name"])
    cls, options = (own, {}) if sampler is None else _find(sampler, own)
    if schedule is not None:
        options = {**options, **_schedule(schedule)}
    scheduler_class = getattr(diffusers, cls)
    known = inspect.signature(scheduler_class.__init__).parameters
    for name in options:
        if name not in known:
            message = f"the sampler {sampler or own!r} has no {name} in diffusers"
            raise GeneratorError(message, blame="study", hint="choose another noise schedule")
    try:
        return scheduler_class.from_config({**config, **options})
    except (ValueError, NotImplementedError, ImportError) as error:
        raise GeneratorError(
            f"the sampler {sampler or own!r} cannot be made: {error}", blame="study"
        ) from error


def _find(sampler: str, own: str) -> tuple[str, dict[str, Any]]:
    names = {_plain(name): entry for name, entry in _SAMPLERS.items()}
    wanted = _plain(sampler)
    flow = own.startswith("FlowMatch")
    if flow and wanted == "euler":
        return own, {}
    for ending, options in [("", {}), *((f" {name}", made) for name, made in _SCHEDULES.items())]:
        entry = names.get(wanted.removesuffix(ending)) if wanted.endswith(ending) else None
        if entry and not flow:
            return entry[0], {**entry[1], **options}
    if flow:
        raise GeneratorError(
            f"this model has the sampler 'Euler' in diffusers, not {sampler!r}", blame="study"
        )
    hint = nearest(sampler, _SAMPLERS) or f"known are {', '.join(_SAMPLERS)}"
    raise GeneratorError(f"diffusers has no sampler {sampler!r}", blame="study", hint=hint)


def _schedule(name: str) -> dict[str, Any]:
    plain = _plain(name)
    if plain not in _SCHEDULES:
        hint = nearest(plain, _SCHEDULES) or f"known are {', '.join(_SCHEDULES)}"
        raise GeneratorError(f"diffusers has no noise schedule {name!r}", blame="study", hint=hint)
    return _SCHEDULES[plain]


def _plain(name: str) -> str:
    return " ".join(name.lower().replace("_", " ").split())
