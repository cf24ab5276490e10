"""What a study has found out about its parameters.

Nothing is imported here; what is for others stands in its own module.
"""
