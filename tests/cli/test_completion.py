"""Shells complete methods, hyperparameters, blocks, presets and studies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from bmerge.testing import tiny_sd1


@pytest.fixture
def complete(tmp_path):
    """Return what is offered for the last of some words."""
    tiny_sd1(tmp_path / "a.safetensors", 0)
    (tmp_path / "runs" / "night").mkdir(parents=True)
    (tmp_path / "runs" / "night" / "study.db").touch()

    def offered(*words: str) -> list[str]:
        environment = {
            **os.environ,
            "_BMERGE_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["bmerge", *words]),
            "COMP_CWORD": str(len(words)),
        }
        done = subprocess.run(
            [sys.executable, "-m", "bmerge"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    return offered


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("me",), {"merge", "methods"}),
        (("merge", "weighted_s"), {"weighted_sum", "weighted_subtraction"}),
        (("merge", "weighted_sum", "a.safetensors", "--al"), {"--alpha"}),
        (("merge", "weighted_sum", "a.safetensors", "--alpha", "OUT1"), {"OUT10=", "OUT11="}),
        (("merge", "weighted_sum", "--alpha", "GRAD_"), {"GRAD_V", "GRAD_A"}),
        (("merge", "weighted_sum", "a.safetensors", "--alpha", "M00=1,BA"), {"M00=1,BASE="}),
        (("report", "ru"), {"runs/night"}),
        (("studies", "show", "runs/n"), {"runs/night"}),
        (("prove", "ru"), {"runs/night"}),
        (("weights", "show", "GRAD_"), {"GRAD_V", "GRAD_A"}),
        (("schema", "s"), {"study"}),
    ],
)
def test_words_are_offered(complete, words, expected):
    assert expected <= set(complete(*words))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_script_is_one_that_the_shell_can_read(bmerge, shell):
    called = bmerge("completion", shell)
    assert called.status == 0
    assert "_BMERGE_COMPLETE" in called.out
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=called.out, text=True, check=True)


def test_bash_completes_by_the_script(bmerge, tmp_path):
    called = bmerge("completion", "bash")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "bmerge").write_text(f'#!/bin/sh\nexec {sys.executable} -m bmerge "$@"\n')
    (folder / "bmerge").chmod(0o755)
    ask = "COMP_WORDS=(bmerge merge weighted_s); COMP_CWORD=2; _bmerge_completion bmerge"
    script = f"{called.out}\n{ask}\necho ${{COMPREPLY[@]}}"
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) >= {"weighted_sum", "weighted_subtraction"}
