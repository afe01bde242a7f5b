"""One JSON document on standard output, whatever else is printed, and for errors, too."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ebr_core.errors import InputError
from flows.app.json_output import one_document


def test_all_else_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with one_document(True) as write:
        print("a library")
        os.write(1, b"a C library\n")
        subprocess.run([sys.executable, "-c", "print('a child')"], check=True)
        assert write
        write({"low": float("nan"), "text": "é"})
    print("after")
    out, err = capfd.readouterr()
    assert json.loads(out.removesuffix("after\n")) == {"low": None, "text": "é"}
    assert sorted(err.splitlines()) == ["a C library", "a child", "a library"]


def test_an_error_that_the_user_can_correct_is_a_document(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError), one_document(True):
        raise InputError("no such file")
    assert json.loads(capfd.readouterr().out) == {"error": "no such file"}
    with pytest.raises(ZeroDivisionError), one_document(True):
        raise ZeroDivisionError
    assert capfd.readouterr().out == ""


def test_without_json_nothing_changes(capfd: pytest.CaptureFixture[str]) -> None:
    with one_document(False) as write:
        print("a table")
    assert write is None
    assert capfd.readouterr().out == "a table\n"
