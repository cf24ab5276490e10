"""Trials that break a constraint, in the report."""

from __future__ import annotations

from dataclasses import replace

from bmerge.report.data import ReportData
from bmerge.report.page import render


def test_what_breaks_a_constraint_does_not_lead_and_is_marked(data: ReportData) -> None:
    leader = data.leader
    assert leader is not None
    trials = tuple(replace(t, broken=t == leader) for t in data.trials)
    changed = replace(data, trials=trials)
    assert changed.leader is not None
    assert changed.leader.number != leader.number
    text = render(changed)[0]
    assert text.count("breaks a constraint") == 1
    assert "may be luck" not in text
