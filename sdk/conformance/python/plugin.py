"""What every SDK must do alike, in Python: each sample of ../cases names what is to be done."""

import datetime
import os
import random
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headworks_plugin import Document, Event, Output, Rejected, host, plugin, tables

ACTIONS: dict[str, Callable[[Event], Any]] = {}
KEPT: list[Document] = []


def action(function: Callable[[Event], Any]) -> Callable[[Event], Any]:
    ACTIONS[function.__name__.strip("_").replace("_", "-")] = function
    return function


@plugin
@dataclass
class Conformance:
    greeting: str

    def __post_init__(self) -> None:
        if not self.greeting:
            raise ValueError("greeting is empty")

    def transform(self, event: Event) -> Any:
        what = event.data["/do"]
        if what == "configured":
            return event.data.set("/greeting", self.greeting)
        return ACTIONS[what](event)


@action
def edits(event: Event) -> Any:
    price, _note = event.data.get_many(("/price", float), ("/note", str))
    return (
        event.data.rename("/order_no", "/order/id")
        .set("/order/total", price * 2.5)
        .set("/order/gift", False)
        .set("/order/tags", ["a", "b"])
        .set("/order/nothing", None)
        .remove("/note")
        .remove("/was/never/there")
        .rename("/nor/was/this", "/here")
        .set("/items/-", 3)
    )


@action
def untouched_bytes(event: Event) -> Any:
    return Output(event.data.set("/added", 1).to_json().encode())


@action
def attributes(event: Event) -> Any:
    seen = [event.id, event.source, event.type, event.subject or "", event.time, event.app_version or ""]
    return event.data.set("/seen", [*seen, event.partner, event.schema])


@action
def output_fields(event: Event) -> Any:
    plain = Output(
        "plain, not JSON: 한 🙂".encode(),
        destination="files",
        topic="orders",
        key="A-1",
        headers=[("one", "1"), ("one", "2")],
    )
    return [plain, event.data]


@action
def drop(_event: Event) -> Any:
    return []


@action
def reject(_event: Event) -> Any:
    raise Rejected("not this one")


@action
def lookup(event: Event) -> Any:
    row, other = tables.lookup("shops", "1"), tables.lookup("shops", 2)
    assert row is not None and other is not None
    event.data.set("/absent", tables.lookup("shops", "none") is None).set("/other", other["/name"])
    return [row.set("/seen", True), event.data]


@action
def missing(event: Event) -> Any:
    return event.data["/price"]


@action
def split(event: Event) -> Any:
    items = event.data["/items"]
    return [
        Output({**item, "index": index, "of": len(items)}, topic="items", key=item["sku"])
        for index, item in enumerate(items)
    ]


@action
def copy(event: Event) -> Any:
    copied = event.data.copy().set("/n", 2)
    return [copied, event.data.set("/original", True)]


@action
def pointers(event: Event) -> Any:
    empty, second = event.data.get_many("/", "/list/1")
    return (
        event.data.rename("/a~1b/c~0d", "/moved")
        .remove("/")
        .remove("/list/1")
        .set("/empty", empty)
        .set("/second", second)
    )


@action
def null_and_missing(event: Event) -> Any:
    found = [event.data.get(pointer, "missing") for pointer in ("/empty", "/absent")]
    return event.data.set("/found", ["null" if value is None else value for value in found])


@action
def large_numbers(event: Event) -> Any:
    found = event.data.get_many(("/beyond_double", int), ("/most", int), ("/unsigned", int))
    event.data.set("/again", [])
    for value in found:
        event.data.set("/again/-", value)
    return Output(event.data.to_json().encode())


@action
def new_document(_event: Event) -> Any:
    made = Document.from_value({"made": [1, "two", None, {"three": 3.5}]})
    try:
        Document.from_json("{")
    except ValueError:
        made.set("/malformed", True)
    return made


@action
def many_documents(_event: Event) -> Any:
    return [Document.from_value({"n": n}) for n in range(500)][-1]


@action
def given_away(event: Event) -> Any:
    refused = True
    for document in KEPT:
        try:
            document.get("/do")
            refused = False
        except RuntimeError:
            pass
    KEPT[:] = [event.data]
    return event.data.set("/refused", refused)


@action
def log(_event: Event) -> Any:
    host.log("info", "a line")
    print("two", 3)
    print("to standard error", file=sys.stderr)
    host.count("lines", 2)
    return []


@action
def throw(_event: Event) -> Any:
    raise RuntimeError("out of order")


@action
def mistyped(event: Event) -> Any:
    return event.data.get_many(("/price", float))


@action
def edit_refused(event: Event) -> Any:
    return event.data.set("/price/of/text", 1)


@action
def edit_refused_again(event: Event) -> Any:
    def is_refused(use: Callable[[], Any]) -> bool:
        try:
            use()
            return False
        except ValueError:
            return True

    data = event.data.set("/price/of/text", 1)
    refused = [is_refused(data.to_json)]
    data.set("/n", 2)
    uses = (lambda: data.get("/price"), lambda: data.get_many("/price", "/n"), data.copy, data.to_json)
    return Document.from_value({"refused": [*refused, *map(is_refused, uses)]})


@action
def edit_refused_caught(event: Event) -> Any:
    event.data.set("/price/of/text", 1)
    try:
        event.data.to_json()
    except ValueError:
        # Goes on as if nothing were.
        pass
    return event.data.set("/n", 2)


@action
def clock(event: Event) -> Any:
    return event.data.set("/now", time.time())


@action
def clock_by_datetime(event: Event) -> Any:
    return event.data.set("/now", str(datetime.datetime.now()))


@action
def clock_by_gmtime(event: Event) -> Any:
    return event.data.set("/now", time.gmtime())


@action
def dates(event: Event) -> Any:
    parsed = datetime.datetime.strptime("2026-11-02 10:15", "%Y-%m-%d %H:%M")
    later = datetime.datetime.fromisoformat(event.time) + datetime.timedelta(days=1)
    kinds = isinstance(parsed, datetime.datetime) and isinstance(later.date(), datetime.date)
    return event.data.set("/dates", [parsed.isoformat(), later.isoformat(), time.gmtime(0).tm_year, kinds])


@action
def drawn(event: Event) -> Any:
    return event.data.set("/drawn", [random.randrange(10**6), random.choice("abc"), random.Random(7).randrange(10**6)])


@action
def urandom(event: Event) -> Any:
    return event.data.set("/drawn", os.urandom(4).hex())


@action
def uuid_(event: Event) -> Any:
    return event.data.set("/drawn", str(uuid.uuid4()))


@action
def unseeded(event: Event) -> Any:
    return event.data.set("/drawn", random.Random().random())


@action
def file(event: Event) -> Any:
    return event.data.set("/file", open("/etc/hostname").read())


@action
def late_import(event: Event) -> Any:
    import colorsys

    return event.data.set("/colour", colorsys.rgb_to_hsv(1, 0, 0))


@action
def codecs(event: Event) -> Any:
    return event.data.set("/codecs", ["한글".encode("euc-kr").hex(), "é".encode("utf-16-le").hex(), "b".encode("idna").hex()])


@action
def nothing(_event: Event) -> Any:
    return None


@action
def not_finite(event: Event) -> Any:
    return event.data.set("/again", float("nan"))


@action
def recursion(event: Event) -> Any:
    def deeper(n: int) -> int:
        return 1 + deeper(n + 1)

    return event.data.set("/deep", deeper(0))


@action
def memory(event: Event) -> Any:
    return event.data.set("/length", len([bytes(1 << 20) for _ in range(100)]))
