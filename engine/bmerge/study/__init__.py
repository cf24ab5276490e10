"""Running a study: proposing merges, evaluating them, telling the optimiser what came of it.

Nothing is imported here; what is for others stands in its own module.
"""
