"""Generators that come with bmerge, one per file."""
