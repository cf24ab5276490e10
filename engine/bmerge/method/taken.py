"""Names that no hyperparameter should have: options of merges have them."""

from __future__ import annotations

__all__ = ["TAKEN"]

TAKEN = frozenset({
    "arch", "clamp", "debug", "device", "dry_run", "dtype", "exclude", "executor", "explain",
    "force", "hashes", "help", "io", "json", "layout", "like", "lora", "loras", "memory",
    "metadata", "no_hashes", "no_metadata", "no_sync", "output", "overwrite", "partial_loras",
    "plugin", "plugins", "progress", "prune", "quantise", "rebasin", "rebasin_iterations",
    "report_nonfinite", "rounding", "search", "seed", "shard_size", "strict", "sync",
    "text_encoder", "text_encoders", "threads", "unverified", "vae", "vram",
})  # fmt: skip
"""Options of ``bmerge merge`` and keywords of :func:`bmerge.merge`; a recipe file alone can set a
hyperparameter that is called like one."""
