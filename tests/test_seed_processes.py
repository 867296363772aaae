"""The seed across processes: forks, other programs, and who owns what in which."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ancfuzz

PATH = [
    str(Path(ancfuzz.__file__).parent.parent),
    str(Path(__file__).parent),
    *filter(None, sys.path),
]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


def child(scenario: str) -> Any:
    """The answer of seed_family.py."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("seed_family.py")), scenario],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(PATH),
            "PYTHONWARNINGS": "error",
        },
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_after_a_fork_each_process_owns_its_own_numbers() -> None:
    """Whatever a child does to its buffer, the parent's descriptors are open."""
    told = child("owned")
    assert told.pop("leaked") == []
    assert {name: answer.pop("child") for name, answer in told.items()} == {
        "clear": [],
        "take": [True, []],
        "drop": [["ResourceWarning"], []],
        "receive_more": [1, []],
    }
    for answer in told.values():
        assert answer == {"open here": [True, True], "taken here": True}


def test_a_socket_after_a_fork_is_both_processes() -> None:
    assert child("sockets") == {
        "written": len("from the child"),
        "outlived": "from the child",
        "still": 1,
    }


def test_a_socket_is_an_argument_of_multiprocessing() -> None:
    told = child("multiprocesses")
    assert {*told} == {*multiprocessing.get_all_start_methods()}
    for answer in told.values():
        assert answer == [0, "written by another program", "piped"]


def test_a_socket_is_inherited_by_its_number() -> None:
    assert child("inherited") == [0, "written by another program", "piped"]


def test_who_may_not_write_to_a_socket_may_not_send_to_it() -> None:
    assert child("denied") == {
        "a socket: send": "EACCES",
        "a socket: connect": "EACCES",
        "below a folder: send": "EACCES",
        "below a folder: connect": "EACCES",
        "allowed: send": "done",
        "allowed: connect": "done",
        "bind": "EACCES",
    }
