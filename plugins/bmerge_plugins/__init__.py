"""The plugins that come with bmerge: merge methods, optimisers, scorers and generators.

Each file is one plugin: it imports public names of ``bmerge`` only and implements hooks of
``bmerge.host.hookspecs``, just as a plugin of anybody else does.
"""
