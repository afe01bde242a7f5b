"""Blocks as HTML and Markdown: findings in colour, and texts of a log as they are."""

from __future__ import annotations

from tasks.report.example_section import example_blocks
from tasks.report.page import Grid, LogTable, as_html, as_markdown, plain_text, split_outcome, without_markup

HOSTILE = "<script>alert(1)</script> **bold** `code`\x1b[31m\u202egnp.exe"


def test_a_finding_has_the_colour_of_its_direction() -> None:
    cells = [["+.012 [+.004, +.020]; better, as claimed"], ["−.012; worse"], ["+.001; tie"], ["a; b"]]
    page = as_html("t", [Grid(["difference"], cells)])
    assert '+.012 [+.004, +.020]<div><span class="better">better</span>, as claimed</div>' in page
    assert '−.012<div><span class="worse">worse</span></div>' in page
    assert '+.001<div><span class="tie">tie</span></div>' in page
    assert "a; b" in page
    assert split_outcome("a; b") == ("a; b", "", "")


def test_texts_of_a_log_are_escaped_and_harmless() -> None:
    search = {"query": HOSTILE, "targets": [HOSTILE * 9], "more_targets": 2, "recall": [1.0, 0.0]}
    lists = {"won, at random": [search | {"retrieved": [[(1, HOSTILE, True)], []]}], "lost, at random": []}
    unanswered = [{"outcome": "nothing returned", "query": HOSTILE, "failed": 3, "searches": 4}]
    counts = {"arms": ["new", "bm25"], "seed": 0, "targets": "clicked", "searches": 10, "won": 4, "lost": 1}
    page = example_blocks(counts | {"lists": lists, "unanswered": unanswered})
    html, markdown = as_html("t", page), as_markdown("t", page)
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; **bold** `code` [31m gnp.exe" in html  # no markup is read in it
    assert not {"\x1b", "\u202e"} & set(html)
    assert "alert(1)" not in markdown  # searchers' words are on the page alone
    assert "finds more targets than `bm25` for 4, fewer for 1, as many for 5" in markdown
    assert "3 of 4" in html
    assert [block.summary for block in page if isinstance(block, LogTable)] == [
        "1 searches won, at random",
        "Queries for which the engine of the log returned nothing: the 1 most frequent of the test",
    ]


def test_without_examples_there_is_no_section() -> None:
    assert example_blocks({"unanswered": []}) == example_blocks({}) == []


def test_a_text_is_plain_on_one_line_and_a_sentence_loses_its_marks() -> None:
    assert plain_text(" a\tb\u2028c\x00 ") == "a b c"
    assert without_markup("**Use `new`**: it *ties* with 3 * 4") == "Use new: it ties with 3  4"
