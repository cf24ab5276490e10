"""A first study: what can paint, what suits the models, and the commented file of it.

Above :mod:`bmerge.host`; ``bmerge init`` asks the questions and prints. Only the standard library
talks to servers here, since the core is to find out what it needs further.
"""

from __future__ import annotations

from bmerge.wizard.models import StudyModels, look_at
from bmerge.wizard.servers import Server, find_servers
from bmerge.wizard.study_file import Answers, fewest_trials, study_text

__all__ = [
    "Answers",
    "StudyModels",
    "Server",
    "fewest_trials",
    "find_servers",
    "look_at",
    "study_text",
]
