"""Executors: the native core, torch, and the choice between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmerge.rooms import offering

if TYPE_CHECKING:
    from bmerge.executors.base import (
        ExecutionReport,
        Executor,
        NonFinite,
        Progress,
        ProgressCallback,
        Rounded,
        Sink,
        nonfinite_error,
    )
    from bmerge.executors.choose import ChosenExecutor, choose_executor
    from bmerge.executors.memory import largest_working_set, working_set
    from bmerge.executors.native import NativeExecutor, program_of
    from bmerge.executors.options import ExecutorKeywords, ExecutorName, ExecutorOptions
    from bmerge.executors.probe import DeviceMemory, DeviceProbe, SystemProbe
else:
    _HOMES = {
        "bmerge.executors.base": (
            "ExecutionReport Executor NonFinite Progress ProgressCallback Rounded Sink "
            "nonfinite_error"
        ),
        "bmerge.executors.choose": "ChosenExecutor choose_executor",
        "bmerge.executors.native": "NativeExecutor program_of",
        "bmerge.executors.options": "ExecutorKeywords ExecutorName ExecutorOptions",
        "bmerge.executors.probe": "DeviceMemory DeviceProbe SystemProbe",
        "bmerge.executors.memory": "largest_working_set working_set",
    }
    __getattr__ = offering(__name__, _HOMES)

__all__ = [
    "ChosenExecutor",
    "DeviceMemory",
    "DeviceProbe",
    "ExecutionReport",
    "Executor",
    "ExecutorKeywords",
    "ExecutorName",
    "ExecutorOptions",
    "NativeExecutor",
    "NonFinite",
    "Progress",
    "ProgressCallback",
    "Rounded",
    "Sink",
    "SystemProbe",
    "choose_executor",
    "largest_working_set",
    "nonfinite_error",
    "program_of",
    "working_set",
]
