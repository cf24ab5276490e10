"""Trials and what they are worth: scores, objectives, how sure they are, which one wins.

Nothing is imported here; what is for others stands in its own module.
"""
