"""A stub of OpenSearch on a loopback port: what is sent is checked and kept, and answered as a cluster would.

It is no OpenSearch: search is exact, and mappings are checked for what the export uses alone.
"""

from __future__ import annotations

import base64
import fnmatch
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np


class Request(NamedTuple):
    """A request that the client sent; body: parsed, a list of lines for bulk."""

    method: str
    path: str
    body: Any


class Index:
    """An index: its creation, the documents written, and those that a refresh made visible."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.settings, self.mappings = body["settings"], body["mappings"]
        self.written: dict[str, dict[str, Any]] = {}
        self.visible: dict[str, dict[str, Any]] = {}


class OpenSearchStub:
    """The state of the cluster."""

    def __init__(self) -> None:
        self.indexes: dict[str, Index] = {}
        self.aliases: dict[str, str] = {}
        self.requests: list[Request] = []
        self.password: str | None = None
        self.cut_bulk: int | None = None  # documents of the next bulk after which the connection breaks
        self.port = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def sent(self, method: str, ending: str) -> list[Any]:
        """The bodies of the requests with this method whose path ends so."""
        return [sent.body for sent in self.requests if sent.method == method and sent.path.endswith(ending)]

    def names(self, pattern: str) -> list[str]:
        """The indexes that a name, an alias or a pattern means."""
        if pattern in self.aliases:
            return [self.aliases[pattern]]
        return fnmatch.filter(self.indexes, pattern)

    def answer(self, request: Request) -> tuple[int, Any]:
        """(status, body) of the answer."""
        parts = [unquote(part) for part in request.path.strip("/").split("/")]
        match (request.method, parts):
            case ("GET", [""]):
                return 200, {"version": {"distribution": "opensearch", "number": "3.0.0"}}
            case ("POST", ["_bulk"]):
                return 200, self._bulk(request.body)
            case ("POST", ["_aliases"]):
                return self._move(request.body["actions"])
            case ("PUT", [name]):
                if name in self.indexes:
                    return 400, {"error": {"reason": f"index [{name}] already exists"}, "status": 400}
                self.indexes[name] = Index(request.body)
                return 200, {"acknowledged": True}
            case (_, [pattern, *_]) if not self.names(pattern) and "*" not in pattern:
                return 404, {"error": {"reason": f"no such index [{pattern}]"}, "status": 404}
            case ("HEAD", [_]):
                return 200, None
            case ("DELETE", [name]):
                del self.indexes[name]
                return 200, {"acknowledged": True}
            case ("GET", [pattern, "_mapping"]):
                return 200, {name: {"mappings": self.indexes[name].mappings} for name in self.names(pattern)}
            case (_, [pattern, action]):
                return self._act(self.indexes[self.names(pattern)[0]], action, request.body)
        return 400, {"error": {"reason": f"no handler for {request.method} {request.path}"}, "status": 400}

    def _act(self, index: Index, action: str, body: Any) -> tuple[int, Any]:
        match action:
            case "_mapping":
                index.mappings |= body
            case "_settings":
                index.settings["index"] |= body["index"]
            case "_refresh":
                index.visible = dict(index.written)
            case "_count":
                below = body["query"]["range"]["row"]["lt"] if body else np.inf
                return 200, {"count": sum(document["row"] < below for document in index.visible.values())}
            case "_search":
                return 200, self._search(index, body)
        return 200, {"acknowledged": True}

    def _search(self, index: Index, body: Any) -> Any:
        ((field, near),) = body["query"]["knn"].items()
        names = list(index.visible)
        vectors = np.array([index.visible[name][field] for name in names])
        order = np.argsort(-(vectors @ np.array(near["vector"])), kind="stable")[: min(near["k"], body["size"])]
        return {"hits": {"hits": [{"_id": names[i]} for i in order]}}

    def _bulk(self, lines: list[Any]) -> Any:
        items = []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            if self.cut_bulk is not None and len(items) == self.cut_bulk:
                self.cut_bulk = None
                raise ConnectionAbortedError
            index = self.indexes[action["index"]["_index"]]
            fields = index.mappings["properties"]
            unknown = set(document) - set(fields)
            vector = next(name for name, field in fields.items() if field["type"] == "knn_vector")
            if unknown:
                error = {"reason": f"mapping set to strict, dynamic introduction of {unknown} is not allowed"}
            elif len(document[vector]) != fields[vector]["dimension"]:
                error = {"reason": f"Vector dimension mismatch. Expected: {fields[vector]['dimension']}"}
            else:
                index.written[action["index"]["_id"]] = document
                items.append({"index": {"status": 201}})
                continue
            items.append({"index": {"status": 400, "error": error}})
        return {"errors": any("error" in item["index"] for item in items), "items": items}

    def _move(self, actions: list[dict[str, Any]]) -> tuple[int, Any]:
        aliases = dict(self.aliases)
        for action in actions:
            ((kind, of),) = action.items()
            if of["index"] not in self.indexes or (kind == "remove" and aliases.pop(of["alias"], None) != of["index"]):
                return 404, {"error": {"reason": f"aliases [{of['alias']}] missing"}, "status": 404}
            if kind == "add":
                aliases[of["alias"]] = of["index"]
        self.aliases = aliases
        return 200, {"acknowledged": True}


@contextmanager
def run_stub() -> Iterator[OpenSearchStub]:
    """A stub that listens until the context ends."""
    stub = OpenSearchStub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(stub))
    stub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()


def _handler(stub: OpenSearchStub) -> type[BaseHTTPRequestHandler]:
    class StubHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            content = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
            path = urlsplit(self.path).path
            lines = [json.loads(line) for line in content.splitlines() if line] if path == "/_bulk" else None
            request = Request(self.command, path, lines or (json.loads(content) if content else None))
            stub.requests.append(request)
            wanted = stub.password and "Basic " + base64.b64encode(f"admin:{stub.password}".encode()).decode()
            try:
                refused = wanted and self.headers.get("authorization") != wanted
                status, body = (401, {"error": {"reason": "no"}, "status": 401}) if refused else stub.answer(request)
            except ConnectionAbortedError:
                self.close_connection = True
                self.connection.close()
                return
            answer = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    return StubHandler
