"""How long merges take and how much memory, against the floor of the disk and against others."""
