"""The source in a digest, on small sources written by hand: all that a stage can reach, and no more."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from data import extracted_log
from tasks.provenance.source import _digest, reach_of
from tests.reach import outside, recorded
from tests.trees import sources_in

SOURCES = {
    "tasks/made.py": '''
        """A stage."""
        import ebr_core.deep.inner
        import numpy as np
        from data import rows, sheets
        from ebr_core import aliased as other
        from ebr_core.classes import Child
        from ebr_core.constants import RATE as FIRST, TABLE as SECOND
        from ebr_core.kernels import step
        from ebr_core.passed import passed_on
        from tasks import whole

        UNUSED = 1
        LIMIT = 10

        def made(folder, size=LIMIT):
            """Makes something."""
            from ebr_core import late

            rows.read("used")
            sheets.render("page")
            total = ebr_core.deep.inner.deepest(np.ones(3)) + other.value() + late.value()
            return step(total, FIRST), Child().run(), SECOND["a"], passed_on(), use(whole)

        def use(module):
            return getattr(module, "anything")()

        def unused():
            return UNUSED
        ''',
    "tasks/whole.py": "from ebr_core.behind import thing\n\ndef anything():\n    return 1\n",
    "data/rows.py": """
        from importlib.resources import files

        def read(name):
            return files("data").joinpath("sql", "rows", f"{name}.sql").read_text()
        """,
    "data/sql/rows/used.sql": "SELECT 1",
    "data/sql/rows/unused.sql": "SELECT 2",
    "data/sql/rows/by_field.sql": "SELECT 4",
    "data/sheets/__init__.py": """
        from pathlib import Path

        def render(name):
            return environment(Path(__file__).parent / "templates").get_template(f"{name}.html.j2")
        """,
    "data/sheets/templates/page.html.j2": '{% include "parts/head.txt" %} body',
    "data/sheets/templates/parts/head.txt": "head",
    "data/sheets/templates/parts/foot.txt": "foot",
    "ebr_core/aliased.py": "def value():\n    return 1\n",
    "ebr_core/behind.py": "def thing():\n    return 1\n",
    "ebr_core/classes.py": '''
        from ebr_core.bases import Base, marked

        @marked
        class Child(Base):
            """A class."""

            size: int = 1
            question: str = "by_field"

            def run(self):
                return self.walk()

            def unmentioned(self):
                return 2
        ''',
    "ebr_core/bases.py": """
        def marked(kind):
            return kind

        class Base:
            def walk(self):
                return 3
        """,
    "ebr_core/constants.py": """
        RATE, OTHER_RATE = 0.5, 7
        TABLE = {"a": 1}
        TABLE["b"] = 2
        UNRELATED = 3
        """,
    "ebr_core/deep/inner.py": """
        from . import beside

        def deepest(values):
            return beside.value(values)
        """,
    "ebr_core/deep/beside.py": "def value(values):\n    return values + 1\n",
    "ebr_core/kernels.py": """
        from numba import njit
        from ebr_core.kernels_below import below

        _FAST = {"contract"}

        @njit(cache=True, fastmath=_FAST)
        def step(rows, rate, most=100):
            return below(rows) * rate
        """,
    "ebr_core/kernels_below.py": "from numba import njit\n\n@njit\ndef below(rows):\n    return rows - 1\n",
    "ebr_core/late.py": "def value():\n    return 1\n",
    "ebr_core/passed.py": "from ebr_core.origin import passed_on\n",
    "ebr_core/origin.py": "def passed_on():\n    return 1\n",
}

COUNTS = {
    "its body": ("tasks/made.py", "np.ones(3)", "np.ones(4)"),
    "a constant in a default argument": ("tasks/made.py", "LIMIT = 10", "LIMIT = 11"),
    "another name imported under the same alias": ("tasks/made.py", "RATE as FIRST", "OTHER_RATE as FIRST"),
    "another library under the same alias": ("tasks/made.py", "import numpy as np", "import scipy as np"),
    "another module under the same alias": ("tasks/made.py", "import aliased as other", "import late as other"),
    "aliases that change places": (
        "tasks/made.py",
        "RATE as FIRST, TABLE as SECOND",
        "TABLE as FIRST, RATE as SECOND",
    ),
    "a function of a module": ("ebr_core/aliased.py", "return 1", "return 2"),
    "a function imported within a function": ("ebr_core/late.py", "return 1", "return 2"),
    "a module in a folder without __init__": (
        "ebr_core/deep/inner.py",
        "beside.value(values)",
        "beside.value(-values)",
    ),
    "a relative import": ("ebr_core/deep/beside.py", "values + 1", "values + 2"),
    "a function behind another name": ("ebr_core/origin.py", "return 1", "return 2"),
    "a method that is called": ("ebr_core/classes.py", "self.walk()", "-self.walk()"),
    "a method that no code names": ("ebr_core/classes.py", "return 2", "return 3"),
    "a field of a class": ("ebr_core/classes.py", "size: int = 1", "size: int = 2"),
    "a base class": ("ebr_core/bases.py", "return 3", "return 4"),
    "what a decorator does": ("ebr_core/bases.py", "return kind", "return None"),
    "a constant among several": ("ebr_core/constants.py", "0.5, 7", "0.6, 7"),
    "a dictionary": ("ebr_core/constants.py", '{"a": 1}', '{"a": 2}'),
    "a statement that changes it": ("ebr_core/constants.py", '["b"] = 2', '["b"] = 3'),
    "a kernel": ("ebr_core/kernels.py", "* rate", "/ rate"),
    "a kernel that another calls": ("ebr_core/kernels_below.py", "rows - 1", "rows - 2"),
    "an argument of a decorator": ("ebr_core/kernels.py", "cache=True", "cache=False"),
    "a constant in a decorator": ("ebr_core/kernels.py", "contract", "reassoc"),
    "a default argument": ("ebr_core/kernels.py", "most=100", "most=101"),
    "a module that is passed on": ("tasks/whole.py", "return 1", "return 2"),
    "what such a module imports": ("ebr_core/behind.py", "return 1", "return 2"),
    "SQL": ("data/sql/rows/used.sql", "1", "3"),
    "SQL that a field names": ("data/sql/rows/by_field.sql", "4", "5"),
    "a template": ("data/sheets/templates/page.html.j2", "body", "text"),
    "a template in a template": ("data/sheets/templates/parts/head.txt", "head", "top"),
}

IS_NOTHING = {
    "a docstring": ("tasks/made.py", "Makes something.", "Makes something else."),
    "the docstring of a class": ("ebr_core/classes.py", "A class.", "Another class."),
    "a comment": ("tasks/made.py", "UNUSED = 1", "UNUSED = 1  # why"),
    "a function that is not used": ("tasks/made.py", "return UNUSED", "return -UNUSED"),
    "a constant that is not used": ("ebr_core/constants.py", "UNRELATED = 3", "UNRELATED = 4"),
    "SQL that is not used": ("data/sql/rows/unused.sql", "2", "3"),
    "a template that is not used": ("data/sheets/templates/parts/foot.txt", "foot", "bottom"),
}


def _write(root: Path, sources: dict[str, str]) -> Path:
    for name, text in sources.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text).lstrip("\n"))
    return root


def _digest_in(root: Path) -> str:
    with sources_in(root):
        return _digest("tasks.made", "made")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _digest_in(_write(tmp_path_factory.mktemp("before"), SOURCES))


def _changed(root: Path, change: tuple[str, str, str]) -> str:
    file, old, new = change
    assert SOURCES[file].count(old) == 1, f"{old!r} occurs {SOURCES[file].count(old)} times in {file}"
    return _digest_in(_write(root, SOURCES | {file: SOURCES[file].replace(old, new)}))


@pytest.mark.parametrize("change", COUNTS)
def test_a_change_within_reach_counts(before: str, tmp_path: Path, change: str) -> None:
    assert _changed(tmp_path, COUNTS[change]) != before


@pytest.mark.parametrize("change", IS_NOTHING)
def test_a_change_out_of_reach_does_not_count(before: str, tmp_path: Path, change: str) -> None:
    assert _changed(tmp_path, IS_NOTHING[change]) == before


def _reached(root: Path, **sources: str) -> set[str]:
    _write(root, {f"tasks/{name}.py": text for name, text in sources.items()})
    with sources_in(root):
        return set(reach_of("tasks.made", "made").definitions)


def test_a_star_import_reaches_all_of_a_module(tmp_path: Path) -> None:
    assert "tasks.other:hidden" in _reached(
        tmp_path, made="from tasks.other import *\n\ndef made():\n    return hidden()\n", other="def hidden(): ...\n"
    )


def test_a_lookup_of_names_at_run_time_reaches_all_of_the_module(tmp_path: Path) -> None:
    made = "def hidden(): ...\n\ndef made(name):\n    return globals()[name]()\n"
    assert "tasks.made:hidden" in _reached(tmp_path, made=made)


@pytest.mark.parametrize("named", ["f'tasks.{name}'", "name"])
def test_an_import_by_text_reaches_all_modules_that_it_may_name(tmp_path: Path, named: str) -> None:
    made = f"import importlib\n\ndef made(name):\n    return importlib.import_module({named}).f()\n"
    assert "tasks.other:f" in _reached(tmp_path, made=made, other="def f(): ...\n")


def test_an_import_by_text_from_another_library_reaches_nothing(tmp_path: Path) -> None:
    made = "import importlib\n\ndef made(name):\n    return importlib.import_module(f'faker.{name}').f()\n"
    assert _reached(tmp_path, made=made, other="def f(): ...\n") == {"tasks.made:made"}


def test_a_name_that_is_local_is_not_that_of_the_module(tmp_path: Path) -> None:
    made = "from tasks import other\n\ndef made(other):\n    return [other for other in other]\n"
    assert _reached(tmp_path, made=made, other="def f(): ...\n") == {"tasks.made:made"}


def test_a_name_that_is_local_in_a_nested_function_alone_counts(tmp_path: Path) -> None:
    made = "def made():\n    def inner(f):\n        return f\n    return inner(f)\n\ndef f(): ...\n"
    assert "tasks.made:f" in _reached(tmp_path, made=made)


def test_names_in_annotations_count(tmp_path: Path) -> None:
    """A method is called on an argument, whose class the code may name in the annotation alone."""
    made = "from tasks.other import Kind\n\ndef made(kind: 'Kind'):\n    return kind.run()\n"
    other = "class Kind:\n    def run(self):\n        return helper()\n\ndef helper(): ...\n"
    assert {"tasks.other:Kind", "tasks.other:helper"} <= _reached(tmp_path, made=made, other=other)


def test_a_function_that_registers_itself_counts(tmp_path: Path) -> None:
    made = "from functools import singledispatch\n\n@singledispatch\ndef made(x): ...\n"
    made += "\n@made.register\ndef _(x: int): ...\n"
    assert "tasks.made:<module>" in _reached(tmp_path, made=made)


def test_circular_imports_end(tmp_path: Path) -> None:
    made, other = (
        f"import tasks.{name}\n\ndef made():\n    return tasks.{name}.made()\n" for name in ("other", "made")
    )
    assert _reached(tmp_path, made=made, other=other) == {"tasks.made:made", "tasks.other:made"}


def test_calls_and_files_outside_of_the_digest_of_a_stage_are_found() -> None:
    with recorded() as recording:
        extracted_log.escape_glob("a*")
        extracted_log._sql("clicks")
    assert outside("tasks.training_stages", "train_arm", *recording) == []
    assert outside("tasks.retrieval_stages", "build_index", *recording) == [
        "data.experiment.source_config:escape_glob",
        "data.extracted_log:_sql",
        "data/sql/samples/clicks.sql",
    ]
