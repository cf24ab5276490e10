"""What keeps studies and their definitions: the protocol, the storage that ships, readers of both.

Nothing is imported here: every merge looks for storages of plugins by :mod:`.storages`. What is for
others stands in its own module.
"""
