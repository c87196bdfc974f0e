"""Shells complete values and names: what is offered, and when they are left to do it alone."""

from __future__ import annotations

import os

import pytest
from conftest import run_lowrank

from lowrank import names
from lowrank.views import completion


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in ("a.lrk", "b.LRK", "photo.png", ".hidden.lrk", "sub/c.lrk", "empty/x.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def offered(cwd, shell, *words):
    """What a shell is given for the last word, by the protocol of its script."""
    line = " ".join(("lowrank", *words))
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words))},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    environment = {"_LOWRANK_COMPLETE": f"complete_{shell}", **asked}
    return run_lowrank(cwd=cwd, environment=environment).text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_values_and_files_are_offered_to_every_shell(tree, shell):
    for words, wanted, other in (
        (("compress", "a.png", "--store", "fl"), names.FLOAT_STORES, "packed"),
        (("compress", "a.png", "--layout", "p"), ("patches",), "channels"),
        (("report", "a.png", "a.lrk", "--against", "jpeg,"), ("jpeg,webp",), "jpeg,jpeg\n"),
        (("decompress", "a"), ("a.lrk",), "photo.png"),
        (("verify", "s"), ("sub/", "sub/c.lrk"), "photo.png"),
    ):
        text = offered(tree, shell, *words)
        assert all(value in text for value in wanted), (words, text)
        assert other not in text, words


def test_bash_is_given_the_words_alone(tree):
    assert offered(tree, "bash", "decompress", "a").split() == ["a.lrk"]
    assert set(offered(tree, "bash", "compress", "a.png", "--store", "f").split()) == set(
        names.FLOAT_STORES
    )


def test_files_of_a_suffix_and_folders_on_the_way(tree):
    complete = completion.ending(".lrk")
    assert complete("") == ["a.lrk", "b.LRK", "empty/", "sub/"]
    assert complete(".h") == [".hidden.lrk"]
    assert complete("sub") == ["sub/", "sub/c.lrk"]
    assert complete("sub/") == ["sub/c.lrk"]
    assert complete(f"{tree}/a") == [f"{tree}/a.lrk"]
    assert complete("gone/") == []
    assert complete("photo") == []  # the shell completes it, if anybody wants that


def test_a_name_that_needs_quotes_is_left_to_the_shell(tree):
    complete = completion.ending(".lrk")
    for name in ("my file.lrk", "$(x).lrk", "a'b.lrk", os.fsdecode(b"n\xff.lrk")):
        (tree / name).write_bytes(b"")
        assert complete("") == []
        (tree / name).unlink()
    assert complete("") != []


def test_home_and_lists(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree))
    assert completion.ending(".lrk")("~/a") == ["~/a.lrk"]
    codecs = completion.several_of("jpeg", "webp", "avif")
    assert codecs("") == ["jpeg", "webp", "avif"]
    assert codecs("jpeg,w") == ["jpeg,webp"]
    assert codecs("jpeg,") == ["jpeg,webp", "jpeg,avif"]
    assert completion.of("a", "b")("c") == []
