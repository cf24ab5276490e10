"""Studies: proposing merges, evaluating them, storing what came of it.

Nothing is imported here: every merge looks for storages of plugins by :mod:`.storages`. What is for
others stands in its own module.
"""
