"""Train the demo's checkpoints and judge from nothing; see ``__main__``."""
