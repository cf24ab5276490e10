"""Executors: the native core, torch, and the choice between them."""

from __future__ import annotations

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
from bmerge.executors.native import NativeExecutor, program_of
from bmerge.executors.options import ExecutorKeywords, ExecutorName, ExecutorOptions
from bmerge.executors.probe import DeviceMemory, DeviceProbe, SystemProbe
from bmerge.executors.working_set import largest_working_set, working_set

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
