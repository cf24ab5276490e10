"""Scorers that come with bmerge, one kind of judgement per file."""
