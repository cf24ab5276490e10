"""Study files: what people write, read strictly into data.

Nothing is imported here; what is for others stands in its own module.
"""
