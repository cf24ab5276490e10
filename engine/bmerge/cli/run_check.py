"""``bmerge run FILE --check``: what would go wrong, and what the study will take."""

from __future__ import annotations

from collections.abc import Iterable

from bmerge.cli.output import human_bytes, human_time, show
from bmerge.errors import StudyError, counted
from bmerge.faults import in_one_line
from bmerge.storage.stored import StoredStudy, has_study, read_study
from bmerge.study.preflight import Finding, Forecast, check_all, forecast_of
from bmerge.study.room import free_bytes
from bmerge.study.study import PreparedStudy
from bmerge.trials.limits import Limits

__all__ = ["check_study"]

_LABEL = 12


def check_study(study: PreparedStudy, limits: Limits, *, accept_changes: bool) -> None:
    """Check a study, print what was found and what it will take; paint one picture at most.

    Args:
        study: that shall be run. Its generator is closed.
        limits: of the search.
        accept_changes: whether contents may have changed that its results depend on.

    Raises:
        StudyError: if something is wrong.
    """
    try:
        stored = _stored(study)
        pictures = len(study.evaluator.payloads)
        _line("study", f"{study.name}: {_limits(limits)}, pictures of each trial {pictures}")
        wrong = _print_findings(check_all(study, stored, accept_changes=accept_changes))
        if wrong:
            what, error = wrong[0]
            more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
            message = f"the study cannot run: {what}: {in_one_line(error)}{more}"
            raise StudyError(message, hint=getattr(error, "hint", None))
        _print_forecast(forecast_of(study, stored, limits))
    finally:
        study.close()


def _stored(study: PreparedStudy) -> StoredStudy | None:
    """Return what an earlier run has left in the study's folder."""
    return read_study(study.folder) if has_study(study.folder) else None


def _print_findings(findings: Iterable[Finding]) -> list[tuple[str, Exception]]:
    """Print each finding when it is there; return what is wrong, and how."""
    wrong = []
    for finding in findings:
        if finding.error is not None:
            wrong.append((finding.what, finding.error))
            _line("wrong", f"{finding.what}: {in_one_line(finding.error)}")
        else:
            _line("works" if finding.asked else "ready", finding.what)
    return wrong


def _print_forecast(forecast: Forecast) -> None:
    for need in forecast.needs:
        free = human_bytes(free_bytes(need.folder))
        size = human_bytes(need.nbytes) if need.nbytes else "not known before the first trial"
        _line("room", f"{need.what}: {size}; {free} are free for {need.folder}")
    if forecast.seconds is None:
        _line("time", "not known before the first trial")
        return
    if forecast.trials is None:
        _line("time", f"{human_time(forecast.seconds)} for each trial")
        return
    whole = human_time(forecast.trials * forecast.seconds)
    if forecast.measured:
        mean = f"{human_time(forecast.seconds)} each, the mean of {forecast.measured}"
        _line("time", f"{whole} for {counted(forecast.trials, 'trial')}, {mean}")
    else:
        merge = f"one took {forecast.seconds:.1f} s"
        _line("time", f"{whole} for the merges of {counted(forecast.trials, 'trial')}, {merge}")
        _line("", "how long pictures take is not known before the first trial")


def _limits(limits: Limits) -> str:
    given = {
        "trials": limits.trials,
        "pictures in all": limits.pictures,
        "minutes in all": limits.minutes,
    }
    return ", ".join(f"{name} {value:g}" for name, value in given.items() if value is not None)


def _line(label: str, text: str) -> None:
    show(label.ljust(_LABEL) + text)
