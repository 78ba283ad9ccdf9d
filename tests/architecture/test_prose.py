"""Sentences name their actor: none begins with "What" or "Who" as its subject."""

import ast
import io
import re
import tokenize

from tests.support.sources import ROOT

_SUBJECT = re.compile(r"(?:^|[.!;]\s+)(?:What|Who|Whoever|Whatever)\s+\w")
_ANYWHERE = re.compile(r"\b(?:What|Who)(?:ever)?\s")  # few modules have one at all: the others are not parsed


def comments_of(text: str) -> list[str]:
    """Comments, the lines of one block joined."""
    found: list[tuple[int, str]] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            line, words = token.start[0], token.string.lstrip("# ")
            if found and found[-1][0] == line - 1 and not token.line[: token.start[1]].strip():
                found[-1] = (line, f"{found[-1][1]} {words}")
            else:
                found.append((line, words))
    return [words for _, words in found]


def docstrings_of(tree: ast.Module) -> list[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]


def prose_of(text: str) -> list[str]:
    return [" ".join(words.split()) for words in (*docstrings_of(ast.parse(text)), *comments_of(text))]


def test_no_docstring_or_comment_begins_with_what_or_who() -> None:
    paths = [path for package in ("mta", "control_api", "bench", "tests") for path in (ROOT / package).rglob("*.py")]
    texts = {path.relative_to(ROOT): path.read_text("utf-8") for path in paths}
    some = {path: text for path, text in texts.items() if _ANYWHERE.search(text)}
    assert [
        (str(path), words) for path, text in some.items() for words in prose_of(text) if _SUBJECT.search(words)
    ] == []


def test_no_sentence_of_a_page_or_a_step_begins_with_what_or_who() -> None:
    found = []
    for path in (*(ROOT / "docs").glob("*.md"), *(ROOT / "mta/redis_store/steps").glob("*.lua")):
        lines = [line for line in path.read_text("utf-8").splitlines() if path.suffix == ".md" or "--" in line]
        found += [(path.name, line) for line in lines if _SUBJECT.search(line.lstrip("-*>#| "))]
    assert found == []
