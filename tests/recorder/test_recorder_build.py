"""The shim is compiled once, or it is said why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ancfuzz.errors import EnvironmentUnsupported
from ancfuzz.recorder import build
from tests.recordings import NEEDS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = list(NEEDS)


def test_the_shim_is_compiled_once_and_without_warnings(cache: Path) -> None:
    first = build()
    assert first.parent == cache
    before = first.stat()
    assert build() == first
    assert first.stat().st_mtime_ns == before.st_mtime_ns
    assert [path.name for path in cache.iterdir() if path.suffix != ".so"] == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", "cc -Wall -Wextra -Werror -std=gnu11 -fanalyzer -O1")
        assert build() != first


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        ("/no/such/compiler", "needs a C compiler and found none"),
        ("false", "ended with status 1"),
        ("cc -include /no/such/header", "did not compile: cc .*No such file"),
    ],
)
def test_a_compiler_that_fails_is_said_in_one_line(
    compiler: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(EnvironmentUnsupported, match=said) as caught:
        build()
    assert "\n" not in str(caught.value)
    assert "apt install gcc" in str(caught.value)
    assert not list(tmp_path.rglob("*.so"))


def test_a_cache_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EnvironmentUnsupported, match="XDG_CACHE_HOME"):
        build()
