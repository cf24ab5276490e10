"""What is searched: parameters of every kind, a space of them, points in it, proposals.

Nothing is imported here; what is for others stands in its own module.
"""
