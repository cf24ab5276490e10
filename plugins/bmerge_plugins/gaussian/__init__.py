"""A Gaussian process over the unit cube, for scores that are not equally sure.

Small and quick rather than general: everything has an analytic gradient, so that a fit and a
proposal together take some hundredths of a second at a hundred points of 26 dimensions. numpy and
scipy are imported where the modules are; the optimisers import those when they are asked.
"""
