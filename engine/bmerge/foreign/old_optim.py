"""sd-optim's configuration as a study; its guide is read in :mod:`.old_optim_space`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bmerge.errors import RecipeError
from bmerge.foreign.old_files import OldFolder
from bmerge.foreign.old_optim_space import GuideReader
from bmerge.foreign.old_parts import a1111, address_of, scorers, shared
from bmerge.foreign.old_settings import Settings
from bmerge.method import MergeMethod

__all__ = ["study_of_optim"]

_SAMPLERS = {"tpe": "tpe", "random": "random", "cmaes": "cmaes", "gp": "gp", "nsgaii": "nsga2",
             "qmc": "qmc", "botorch": "gp"}  # fmt: skip
_DESIGNS = {"random": "random", "latin_hypercube": "lhs", "sobol": "sobol"}
_WEBUIS = {"a1111", "forge", "reforge"}
_OF_NO_RESULT = (
    "optuna", "reset_log_file", "storage_dir", "checkpoint_dir", "checkpoint_interval",
    "launch_dashboard", "dashboard_port",
    "pruner_type", "patience", "min_improvement",  # of what is told of by itself
)  # fmt: skip
_OF_BAYES = ("sampler", "acquisition_function", "bounds_transformer", "load_log_file")
_OF_OPTUNA = ("use_pruning", "early_stopping", "n_jobs")
"""What the first versions had beside each other for both optimisers, of which one was used."""
_REDUCTION = ("gamma_osc", "gamma_pan", "eta", "minimum_window")


def study_of_optim(folder: OldFolder, method: MergeMethod) -> dict[str, Any]:
    """Return the study file's data.

    Args:
        folder: the configuration; what it cannot carry over is put on its list.
        method: the merge method that it names.

    Raises:
        RecipeError: if it optimises something else than one merge, or a value cannot be right.
    """
    mode = folder.config.text("optimization_mode", "merge")
    if mode != "merge":
        message = f"optimises in the mode {mode!r}; only 'merge' is read"
        raise RecipeError(message, path=folder.path / "config.yaml")
    return {
        "name": method.name,
        "merge": _merge(folder, method),
        "space": GuideReader(folder, method).read(),
        "payloads": shared(folder),
        "generator": _generator(folder),
        "scorers": list(scorers(folder)),
        "optimiser": _optimiser(folder),
    }


def _merge(folder: OldFolder, method: MergeMethod) -> dict[str, Any]:
    config = folder.config
    models = [str(folder.place(path)) for path in config.texts("model_paths")]
    base = config.get("base_model_index")
    if "c" in method.model_names and isinstance(base, int) and 0 <= base < len(models):
        models.append(models.pop(base))
        folder.lose(f"base_model_index: the base, {models[-1]}, is now the last model")
    if config.whole("fallback_model_index", -1) >= 0:
        folder.lose("fallback_model_index: a recipe of steps has `fallback`, a study has not")
    if config.get("add_extra_keys"):
        folder.lose("add_extra_keys: v_pred and ztsnr are kept where the first model has them")
    if config.text("merge_dtype") in {"fp64", "fp16", "bf16"}:
        folder.lose(f"merge_dtype {config.text('merge_dtype')}: merges are computed in float32")
    dtype = config.text("save_dtype")
    return {"method": method.name, "models": models, **({"dtype": dtype} if dtype else {})}


def _generator(folder: OldFolder) -> dict[str, Any]:
    webui = folder.config.text("webui", "a1111")
    if webui == "comfy":
        folder.lose("ComfyUI's folder of models and a workflow: see docs/generators.md")
        return {"name": "comfyui", "addresses": [address_of(folder)]}
    if webui not in _WEBUIS:
        folder.lose(f"webui {webui}: no generator here knows it; a1111 stands in its place")
    return a1111(folder)


def _optimiser(folder: OldFolder) -> dict[str, Any]:
    old = folder.config.within("optimizer")
    seed = -1 if old.get("random_state") is None else old.whole("random_state", -1)
    found: dict[str, Any] = {
        "name": "auto",
        "seed": max(seed, 0),
        "init_points": old.whole("init_points", 10),
        "n_iters": old.whole("n_iters", 20),
    }
    used, other = ("bayes", "optuna") if old.get("bayes") else ("optuna", "bayes")
    old.skip(f"{other}_config")
    settings = old.within(f"{used}_config") if f"{used}_config" in old else old
    for each in (old, settings):
        each.skip(*_OF_NO_RESULT)
    if used == "bayes":
        settings.skip(*_OF_OPTUNA)
        return {**found, **_bayes(folder, settings)}
    settings.skip(*_OF_BAYES)
    return {**found, **_optuna(folder, settings)}


def _optuna(folder: OldFolder, settings: Settings) -> dict[str, Any]:
    sampler = settings.within("sampler")
    kind = sampler.text("type", "tpe")
    if kind not in _SAMPLERS:
        folder.lose(f"sampler {kind}: the default optimiser takes its place")
    elif kind == "botorch":
        folder.lose("sampler botorch: gp takes its place")
    for key in ("use_pruning", "early_stopping", "resume_from_study", "resume_study_name",
                "fork_study"):  # fmt: skip
        if settings.get(key):
            folder.lose(f"{key}: see docs/files.md for what a study does instead")
    if settings.whole("n_jobs", 1) > 1:
        folder.lose("n_jobs: `evaluators` of a study are as many trials at once")
    return {"name": _SAMPLERS.get(kind, "auto"), "init": "random"}


def _bayes(folder: OldFolder, settings: Settings) -> dict[str, Any]:
    several = isinstance(settings.get("sampler"), dict)  # Optuna's, in the first versions
    design = "random" if several else settings.text("sampler", "random")
    if design not in _DESIGNS:
        folder.lose(f"sampler {design}: sobol takes its place")
    found: dict[str, Any] = {"name": "bayes", "init": _DESIGNS.get(design, "sobol")}
    acquisition = settings.within("acquisition_function")
    if "kind" in acquisition:
        found["acquisition"] = acquisition.text("kind")
    found |= _given(acquisition, ("kappa", "xi", "kappa_decay"))
    if acquisition.get("kappa_decay_delay") is not None:
        found["kappa_decay_delay"] = acquisition.whole("kappa_decay_delay", 0)
    reduction = settings.within("bounds_transformer")
    if reduction.get("enabled"):
        found |= {"reduce": True, **_given(reduction, _REDUCTION)}
    reduction.skip(*_REDUCTION)
    return found


def _given(settings: Settings, keys: Sequence[str]) -> dict[str, float]:
    """Return those of some numbers that are there."""
    return {key: settings.number(key) for key in keys if settings.get(key) is not None}
