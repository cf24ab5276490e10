"""BLIP as ImageReward uses it: picture and prompt go in together, one vector comes out."""

from __future__ import annotations

from bmerge_plugins.blip.load import load_reward
from bmerge_plugins.blip.wordpiece import WordPiece

__all__ = ["WordPiece", "load_reward"]
