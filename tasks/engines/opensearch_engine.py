"""OpenSearch: an index for each version, and an alias on the one that answers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
from opensearchpy import OpenSearch, exceptions

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from tasks.engines.search_engine import DOCUMENT_ID, VECTOR, Effort, LiveVersion, Version, read_mark

LINKS, CONSTRUCTION = 16, 200  # of the graph
EFS = (100, 200, 400, 800)
BATCH_BYTES = 8 << 20
NUMBER_BYTES = 12  # of a vector's component as JSON
ROW = "row"  # the document's place in the model, by which an export resumes
PREVIOUS = "previous"  # in the metadata of the version that answers


class OpenSearchEngine:
    """A SearchEngine (tasks.engines.search_engine) in a cluster of OpenSearch."""

    def __init__(self, url: str, alias: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError("opensearch: expected an address such as https://host:9200")
        self._alias = alias
        self._rows: dict[str, int] = {}  # of each version, the documents that are there
        port = parts.port or (443 if parts.scheme == "https" else 9200)
        self._place = f"{parts.scheme}://{parts.hostname}:{port}"
        self._client = OpenSearch([url], timeout=60, max_retries=2, retry_on_timeout=True)
        with self._explained():
            self._client.info()

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return self._place

    @property
    def index(self) -> str:
        """The parameters of its index, in words."""
        return f"knn_vector (faiss hnsw, innerproduct), m {LINKS}, ef_construction {CONSTRUCTION}"

    @property
    def efforts(self) -> Sequence[Effort]:
        """Its search settings, the cheapest first."""
        return [Effort({"ef": ef}, f'"method_parameters": {{"ef_search": {ef}}} in each query') for ef in EFS]

    def batch_rows(self, dimensions: int) -> int:
        """The number of documents that are written at a time."""
        return max(1, BATCH_BYTES // (NUMBER_BYTES * dimensions))

    def live(self) -> LiveVersion | None:
        """The version that answers; None if nothing has the alias. Raises InputError if it is not ours."""
        with self._explained():
            if not self._client.indices.exists(index=self._alias):  # an index or an alias
                return None
            found: dict[str, Any] = self._client.indices.get_mapping(index=self._alias)
        by_name = {version.name: version for version in self.versions()}
        if len(found) != 1 or (name := next(iter(found))) not in by_name:
            raise InputError(
                f"opensearch: {self._place} has an index or alias {self._alias} that no export made; choose another "
                "name with --alias (nightly.export.alias), or remove it"
            )
        previous = found[name]["mappings"].get("_meta", {}).get(PREVIOUS)
        return LiveVersion(by_name[name], by_name.get(previous))

    def versions(self) -> list[Version]:
        """All versions of the alias, unfinished ones included."""
        with self._explained():
            found = self._client.indices.get_mapping(index=f"{self._alias}_*")
        marks = [read_mark(json.dumps(index["mappings"].get("_meta"))) for index in found.values()]
        return [version for version in marks if version]

    def create(self, version: Version, schema: pa.Schema) -> int:
        """The number of documents that it has already; creates it if it is not there.

        A bulk request may be cut in its middle. Documents have their identity there, so they may be written again: if
        those that are there are not the first ones without a gap, all are.
        """
        with self._explained():
            if not self._client.indices.exists(index=version.name):
                self._client.indices.create(index=version.name, body=index_body(version, schema))
                self._rows[version.name] = 0
                return 0
            mappings = self._client.indices.get_mapping(index=version.name)[version.name]["mappings"]
            if read_mark(json.dumps(mappings.get("_meta"))) != version:
                vector = mappings.get("properties", {}).get(VECTOR, {})
                raise InputError(
                    f"opensearch: {self._place} has an index {version.name} of {vector.get('dimension', 'no')} "
                    f"dimensions, this model has {version.dimensions}; remove that index, or choose another name with "
                    "--alias"
                )
            self._client.indices.refresh(index=version.name)
            there = int(self._client.count(index=version.name)["count"])
            first = {"query": {"range": {ROW: {"lt": there}}}}
            is_whole = self._client.count(index=version.name, body=first)["count"] == there
        self._rows[version.name] = there if is_whole else 0
        return self._rows[version.name]

    def write(self, version: Version, documents: pa.Table) -> None:
        """Add documents; those that are there are written again."""
        first = self._rows[version.name]
        with self._explained():
            answer = self._client.bulk(body="\n".join(bulk_lines(documents, version.name, first)) + "\n")
        if answer["errors"]:
            reasons = [item["index"]["error"] for item in answer["items"] if "error" in item["index"]]
            raise InputError(
                f"opensearch: {self._place} refuses {len(reasons):,} documents: "
                f"{' '.join(str(reasons[0].get('reason', reasons[0])).split())[:300]}"
            )
        self._rows[version.name] = first + len(documents)

    def finish(self, version: Version) -> None:
        """Make the documents visible, and let the index be refreshed as others are."""
        with self._explained():
            self._client.indices.put_settings(index=version.name, body={"index": {"refresh_interval": None}})
            self._client.indices.refresh(index=version.name)

    def uses_index(self, version: Version, query: Float32, k: int) -> bool:
        """True: OpenSearch does not say when it compares all documents of a small segment."""
        return True

    def search(self, version: Version, query: Float32, k: int, effort: Effort) -> list[str]:
        """The document_ids of the K nearest, the nearest first."""
        near = {"vector": query.tolist(), "k": k, "method_parameters": {"ef_search": max(effort.settings["ef"], k)}}
        body = {"size": k, "_source": False, "query": {"knn": {VECTOR: near}}}
        with self._explained():
            found = self._client.search(index=version.name, body=body)
        return [hit["_id"] for hit in found["hits"]["hits"]]

    def promote(self, version: Version, previous: Version | None) -> None:
        """Let it answer: the alias is moved in one request, which OpenSearch carries out as a whole."""
        meta = json.loads(version.as_mark()) | {PREVIOUS: previous and previous.name}
        live = self.live()
        add = {"add": {"index": version.name, "alias": self._alias}}
        remove = [{"remove": {"index": live.version.name, "alias": self._alias}}] if live else []
        with self._explained():
            self._client.indices.put_mapping(index=version.name, body={"_meta": meta})
            self._client.indices.update_aliases(body={"actions": [*remove, add]})

    def drop(self, version: Version) -> None:
        """Remove it."""
        with self._explained():
            self._client.indices.delete(index=version.name, params={"ignore_unavailable": "true"})

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn an error of OpenSearch into one line, without the password."""
        try:
            yield
        except exceptions.OpenSearchException as error:
            raise InputError(f"opensearch: {self._place}: {_reason(error)}") from error


def index_body(version: Version, schema: pa.Schema) -> dict[str, Any]:
    """The settings and the mapping of a version's index. Raises InputError for a column that cannot be a field."""
    method = {
        "name": "hnsw",
        "space_type": "innerproduct",
        "engine": "faiss",
        "parameters": {"m": LINKS, "ef_construction": CONSTRUCTION},
    }
    vector = {"type": "knn_vector", "dimension": version.dimensions, "method": method}
    fields = {field.name: {"type": _field_type(field)} for field in schema if field.name != VECTOR}
    fields |= {DOCUMENT_ID: {"type": "keyword"}, "title": {"type": "text"}, ROW: {"type": "integer"}}
    return {
        "settings": {"index": {"knn": True, "refresh_interval": "-1"}},
        "mappings": {
            "dynamic": "strict",
            "_meta": json.loads(version.as_mark()),
            "properties": fields | {VECTOR: vector},
        },
    }


def _field_type(field: pa.Field) -> str:
    if "." in field.name or field.name == ROW or field.name.startswith("_"):
        raise InputError(f"opensearch: {field.name!r} cannot be the name of a field there; leave it out of --show")
    kind = field.type.value_type if pa.types.is_list(field.type) else field.type
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "long"
    if pa.types.is_floating(kind):
        return "double"
    return "date" if pa.types.is_temporal(kind) else "keyword"


def bulk_lines(documents: pa.Table, index: str, first: int) -> Iterator[str]:
    """Two lines for each document: where it goes, by its identity, and its fields without nulls. first: its row."""
    for row, document in enumerate(documents.to_pylist(), first):
        fields = {name: value for name, value in document.items() if value is not None}
        yield json.dumps({"index": {"_index": index, "_id": document[DOCUMENT_ID]}})
        yield json.dumps(fields | {ROW: row}, default=lambda moment: moment.isoformat(), ensure_ascii=False)


def _reason(error: Exception) -> str:
    """What the cluster or the client says, on one line, and the way out."""
    match error:
        case exceptions.AuthenticationException() | exceptions.AuthorizationException():
            return f"the user or password is refused ({error.status_code}); put the right ones into EBR_ENGINE_URL"
        case exceptions.ConnectionError():
            detail = " ".join(str(error.error).split()).split(" caused by")[0]
            return f"cannot be reached ({detail[-150:]}); check that OpenSearch runs there, then the same command again"
        case exceptions.TransportError():
            detail = error.info["error"] if isinstance(error.info, dict) and "error" in error.info else error.error
            reason = detail.get("reason", detail) if isinstance(detail, dict) else detail
            way_out = "; this needs the k-NN plugin" if "knn" in str(reason) else "; mend that, then the same command"
            return " ".join(str(reason).split())[:300] + way_out
        case _:
            return " ".join(str(error).split())[:300]
