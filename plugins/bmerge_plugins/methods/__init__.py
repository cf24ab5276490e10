"""The merge methods that come with bmerge, one per file."""
