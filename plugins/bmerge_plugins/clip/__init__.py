"""What the scorers over CLIP share: towers that are loaded once, heads, and where files are."""

from __future__ import annotations

from bmerge_plugins.clip.aesthetic import Aesthetic
from bmerge_plugins.clip.agreement import PromptAgreement
from bmerge_plugins.clip.device import torch_device, torch_dtype
from bmerge_plugins.clip.files import find_file, find_folder
from bmerge_plugins.clip.head import SHIPPED, Head, load_head, shipped_head
from bmerge_plugins.clip.load import load_tower
from bmerge_plugins.clip.options import CLIP_L, ClipOptions, NetworkOptions
from bmerge_plugins.clip.tensors import read_tensors
from bmerge_plugins.clip.tower import Tower

__all__ = [
    "Aesthetic",
    "CLIP_L",
    "SHIPPED",
    "ClipOptions",
    "Head",
    "NetworkOptions",
    "PromptAgreement",
    "Tower",
    "find_file",
    "find_folder",
    "load_head",
    "load_tower",
    "read_tensors",
    "shipped_head",
    "torch_device",
    "torch_dtype",
]
