"""Writes ICD-10-CM as a log in which words differ: a search is another name of a disease, its click the title.

    .venv/bin/pip install -c constraints.txt -e '.[icd10]'
    .venv/bin/python experiments/icd10_log.py  # writes experiments/icd10/*.parquet: 46,881 titles, 12,569 searches
    ebr run experiments/icd10.yaml

The names are the inclusion terms of the tabular list (United States, public domain), such as "Thalassemia major" for
"Beta thalassemia"; a fifth of them share no word with the title. Nobody typed them and nothing was shown without a
click, so the log says what a vocabulary gap does to a model, and nothing about impressions, searchers or time.
"""

import xml.etree.ElementTree as ElementTree
from hashlib import blake2b
from importlib import resources
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

FOLDS = ["train"] * 8 + ["validation", "test"]


def fold_of(query: str) -> str:
    """train, validation or test. Equal names, whatever their case, are in one part."""
    return FOLDS[int.from_bytes(blake2b(query.lower().encode(), digest_size=8).digest(), "big") % len(FOLDS)]


def tabular_list() -> ElementTree.Element:
    """The tabular list that the package simple-icd-10-cm carries."""
    (path,) = (p for p in resources.files("simple_icd_10_cm.data").iterdir() if p.name.endswith(".xml"))
    return ElementTree.fromstring(path.read_text(encoding="utf-8"))


def codes_and_terms(root: ElementTree.Element) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Titles by code, and (inclusion term, code) in the order of the list."""
    titles: dict[str, str] = {}
    terms = []
    for node in root.iter("diag"):
        code = node.findtext("name", "")
        titles[code] = node.findtext("desc", "").strip()
        terms += [(note.text.strip(), code) for note in node.findall("inclusionTerm/note") if note.text]
    return titles, terms


def main(folder: Path) -> None:
    """Writes searches.parquet, results.parquet and documents.parquet into the folder."""
    titles, terms = codes_and_terms(tabular_list())
    folder.mkdir(parents=True, exist_ok=True)
    codes_of: dict[str, list[str]] = {}
    for term, code in terms:
        codes_of.setdefault(term, []).append(code)
    queries = list(codes_of)
    searches = {
        "search_id": [str(i) for i in range(len(queries))],
        "query": queries,
        "fold": [fold_of(query) for query in queries],
    }
    shown = [(str(i), code) for i, query in enumerate(queries) for code in dict.fromkeys(codes_of[query])]
    results = {
        "search_id": [search for search, _ in shown],
        "document_id": [code for _, code in shown],
        "clicked": [True] * len(shown),
    }
    documents = {"document_id": list(titles), "title": list(titles.values())}
    for name, table in {"searches": searches, "results": results, "documents": documents}.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    print(f"{folder}: {len(titles)} titles, {len(queries)} searches")


if __name__ == "__main__":
    main(Path(__file__).parent / "icd10")
