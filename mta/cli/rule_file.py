"""Files of rules and of ids: NDJSON, CSV, or one id a line, read line by line, and given to the API in chunks."""

import csv
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, TextIO

import click

from mta.cli import remote
from mta.http_out.api_client import Answer, ApiClient, ApiRefused

CHUNK: Final = 5000  # changes in one call
_LISTS: Final = ("tags_all", "except_tags")
_PLACE: Final = re.compile(r"(?:create|remove)\[(\d+)\]\.?")


class Item(NamedTuple):
    """One change; `line` counts from 1."""

    line: int
    value: Any


@contextmanager
def opened(path: str) -> Iterator[TextIO]:
    """The file, or standard input for `-`. Raises UsageError."""
    if path == "-":
        yield sys.stdin
        return
    try:
        with open(path, encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None


def rules_in(lines: Iterable[str], defaults: Mapping[str, Any]) -> Iterator[Item]:
    """The bodies of the rules; `defaults` has the fields that a line does not give. Raises UsageError."""
    for item in _items(lines, ""):
        yield Item(item.line, {**defaults, **item.value})


def ids_in(lines: Iterable[str]) -> Iterator[Item]:
    """Ids of rules: the field or column `id`, or one a line. Raises UsageError."""
    for line, value in _items(lines, "id"):
        if not value.get("id"):
            raise click.UsageError(f"line {line}: has no id")
        yield Item(line, value["id"])


def _items(lines: Iterable[str], alone: str) -> Iterator[Item]:
    """The objects of the file. Where `alone` names a field, a file whose first line does not name it has one value a
    line."""
    numbered = enumerate(_text(lines), 1)
    first = next(((line, text) for line, text in numbered if text.strip()), None)
    if first is None:
        return
    rest = _chain(first, numbered)
    if first[1].lstrip().startswith("{"):
        yield from (_object(line, text) for line, text in rest if text.strip())
    elif alone and alone not in next(csv.reader([first[1]])):
        yield from (Item(line, {alone: text.strip()}) for line, text in rest if text.strip())
    else:
        yield from _rows(rest)


def _text(lines: Iterable[str]) -> Iterator[str]:
    try:
        for at, line in enumerate(lines):
            yield line.removeprefix("\ufeff") if at == 0 else line
    except UnicodeDecodeError:
        raise click.UsageError("the file is not UTF-8") from None


def _chain(first: tuple[int, str], rest: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield first
    yield from rest


def _object(line: int, text: str) -> Item:
    try:
        value = json.loads(text)
    except ValueError:
        raise click.UsageError(f"line {line}: is not JSON") from None
    if not isinstance(value, dict):
        raise click.UsageError(f"line {line}: is not an object")
    return Item(line, value)


def _rows(numbered: Iterator[tuple[int, str]]) -> Iterator[Item]:
    """CSV with a header line; an empty cell is a field that is not given, lists are joined by blanks."""
    at = [0]

    def texts() -> Iterator[str]:
        for line, text in numbered:
            at[0] = line
            yield text

    reader = csv.DictReader(texts())
    try:
        for row in reader:
            if None in row:
                raise click.UsageError(f"line {at[0]}: has more cells than the header line")
            value = {name: cell for name, cell in row.items() if cell}
            yield Item(at[0], value | {name: value[name].split() for name in _LISTS if name in value})
    except csv.Error as error:
        raise click.UsageError(f"line {at[0]}: is not CSV: {error}") from None


class Changes:
    """Changes of the API by chunks, with a line of progress for each on standard error."""

    def __init__(self, client: ApiClient, wait: float, until: str) -> None:
        self._client = client
        self._asked = [("wait", f"{wait:g}"), ("until", until)]
        self._within = wait + 60.0
        self.answers: list[dict[str, Any]] = []
        self.done = 0
        self.effective = True  # all chunks so far

    async def run(self, name: str, items: Iterator[Item]) -> int:
        """Give each item in `create` or `remove`; the exit status. Raises ApiAway; ApiRefused with the line."""
        chunk: list[Item] = []
        for item in items:
            chunk.append(item)
            if len(chunk) == CHUNK:
                await self._give(name, chunk)
                chunk = []
        if chunk:
            await self._give(name, chunk)
        return remote.DONE if self.effective else remote.NOT_YET

    async def _give(self, name: str, chunk: list[Item]) -> None:
        body = {name: [item.value for item in chunk]}
        try:
            answer = await self._client.ask("POST", "/v1/errors/bulk", self._asked, body, self._within)
        except ApiRefused as refused:
            raise self._at_its_line(refused, chunk) from None
        self.done += len(chunk)
        self.effective &= answer.status != 202
        self.answers.append(answer.body)
        remote.say(f"{self.done} {_DONE[name]}; set {_state(answer)}")

    def _at_its_line(self, refused: ApiRefused, chunk: list[Item]) -> ApiRefused:
        place = _PLACE.match(refused.field or "")
        words = str(refused)
        if place is not None:
            field = (refused.field or "")[place.end() :]
            said = words.partition(": ")[2]
            words = f"line {chunk[int(place[1])].line}: {f'{field}: ' if field else ''}{said}"
        before = f"; {self.done} changes before its chunk were made" if self.done else "; nothing was changed"
        return ApiRefused(refused.status, words + before, None, refused.body)


_DONE: Final = {"create": "made", "remove": "removed"}


def _state(answer: Answer) -> str:
    said = answer.body
    if said["effective"]:
        return f"{said['id']} is effective since {said['effective_at']}"
    return f"{said['id']} is not effective everywhere yet, but will be by {said['effective_by']}"
