"""`/v1/embeddings`: vectors of queries and documents in OpenAI's form, for engines that index and search themselves."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from fastapi import FastAPI, Request
from pydantic import Field, StringConstraints, field_validator, model_validator
from starlette.responses import Response

from ebr_core.arrays import Float32
from ebr_core.errors import InputError
from ebr_core.frozen import Frozen
from ebr_core.parallel import use_threads
from ebr_core.serving.document_towers import embed_documents
from ebr_core.serving.model_bundle import Bundle
from ebr_core.serving.query_answer import embed_prepared, prepare
from ebr_core.serving.search_query import LONGEST_QUERY, SearchQuery
from flows.app.service.error_answers import error_answer
from flows.app.service.open_models import ServedModels
from flows.app.service.request_log import note_model

PATH = "/v1/embeddings"
MOST_TEXTS, LONGEST_TEXT, LONGEST_BODY = 256, 1_000, 10_000
LARGEST_BODY_BYTES = 4 * 1024 * 1024
TEXTS_AT_ONCE = 16  # before other requests have their turn: an encoder takes milliseconds for each

Title = Annotated[str, StringConstraints(max_length=LONGEST_TEXT)]
Body = Annotated[str, StringConstraints(max_length=LONGEST_BODY)]


class EmbeddingRequest(Frozen):
    """Texts to embed."""

    input: Title | Annotated[list[Title], Field(min_length=1, max_length=MOST_TEXTS)] = Field(
        description=f"a text or a list of them: queries of up to {LONGEST_QUERY} characters, or titles of documents"
    )
    model: str | None = Field(None, max_length=100, description="the arm that embeds; by default the champion")
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: the vector's numbers as little-endian float32"
    )
    input_type: Literal["query", "document"] = Field(
        "query", description="the tower: of queries without context, or of documents by their text alone"
    )
    body: Body | Annotated[list[Body | None], Field(max_length=MOST_TEXTS)] | None = Field(
        None, description="of documents: their bodies beside their titles, which count where the arm reads bodies"
    )
    dimensions: int | None = Field(None, description="the vectors' length, if a client sends it; no other is made")
    user: str | None = Field(None, max_length=1000, description="not read")

    @field_validator("input", mode="before")
    @classmethod
    def _refuse_tokens(cls, texts: object) -> object:
        first = texts[0] if isinstance(texts, list) and texts else None
        if isinstance(first, int | list):
            raise ValueError("got tokens; send texts (in LangChain: check_embedding_ctx_length=False)")
        return texts

    @model_validator(mode="after")
    def _check_lengths(self) -> EmbeddingRequest:
        if self.input_type == "query":
            if self.body is not None:
                raise ValueError("body: only documents have one; set input_type to document")
            for number, text in enumerate(self.texts):
                if not text.strip():
                    raise ValueError(f"input: text {number} is empty")
                if len(text) > LONGEST_QUERY:
                    raise ValueError(f"input: text {number} has {len(text)} characters; a query has {LONGEST_QUERY}")
        elif self.body is not None and len(self.bodies) != len(self.texts):
            raise ValueError(f"body: got {len(self.bodies)} for {len(self.texts)} titles; give one for each, or null")
        return self

    @property
    def texts(self) -> list[str]:
        """The texts of input."""
        return [self.input] if isinstance(self.input, str) else self.input

    @property
    def bodies(self) -> list[str | None]:
        """The body of each text; None without one."""
        match self.body:
            case None:
                return [None] * len(self.texts)
            case str(body):
                return [body]
            case bodies:
                return bodies


class Embedding(Frozen):
    """The vector of one text."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(Frozen):
    """The size of a request, in words: a model of n-grams has no tokens."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Frozen):
    """The vectors of all texts, in their order. They have unit length; a text without anything that the model knows has
    zeros."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


def add_embeddings(app: FastAPI, served: ServedModels) -> None:
    """Let an app answer at PATH."""

    @app.post(PATH, response_model=EmbeddingList)
    async def embeddings(embedding_request: EmbeddingRequest, request: Request) -> Response:
        """Vectors of queries or documents, in OpenAI's form."""
        try:
            arm, bundle, _ = served.model(embedding_request.model)
        except InputError as error:
            return error_answer(request.scope, 404, str(error), code="model_not_found")
        note_model(request, arm, embedding_request.input_type)
        try:
            vectors = await _embed(bundle, embedding_request)
        except InputError as error:
            return error_answer(request.scope, 422, str(error))
        if embedding_request.dimensions not in (None, vectors.shape[1]):
            reason = f"dimensions: got {embedding_request.dimensions}; the vectors of {arm} have {vectors.shape[1]}"
            return error_answer(request.scope, 422, reason)
        words = sum(
            len(f"{text} {body or ''}".split())
            for text, body in zip(embedding_request.texts, embedding_request.bodies, strict=True)
        )
        answer = EmbeddingList(
            data=[
                Embedding(index=row, embedding=_written(v, embedding_request.encoding_format))
                for row, v in enumerate(vectors)
            ],
            model=arm,
            usage=Usage(prompt_tokens=words, total_tokens=words),
        )
        return Response(answer.model_dump_json(), media_type="application/json")


async def _embed(bundle: Bundle, embedding_request: EmbeddingRequest) -> Float32:
    """(n, D) the vectors of the texts, some at a time. Raises InputError for a model that gives no such vectors."""
    parts = []
    for first in range(0, len(embedding_request.texts), TEXTS_AT_ONCE):
        part = slice(first, first + TEXTS_AT_ONCE)
        use_threads(1)
        match embedding_request.input_type:
            case "query":
                parts.append(_embed_queries(bundle, embedding_request.texts[part]))
            case "document":
                titles, bodies = (
                    pa.array(texts[part], pa.string()) for texts in (embedding_request.texts, embedding_request.bodies)
                )
                parts.append(embed_documents(bundle.towers, titles, bodies))
        await asyncio.sleep(0)
    return np.concatenate(parts)


def _embed_queries(bundle: Bundle, texts: list[str]) -> Float32:
    vectors = embed_prepared(bundle, [prepare(bundle, SearchQuery(query=text, k=1)) for text in texts])
    if vectors.ndim == 3:
        raise InputError(
            f"{bundle.name} gives a query {len(vectors)} vectors, of which a document is as near as its nearest; this "
            "form has room for one"
        )
    return vectors


def _written(vector: Float32, form: Literal["float", "base64"]) -> list[float] | Any:
    return vector.tolist() if form == "float" else base64.b64encode(vector.astype("<f4").tobytes()).decode()
