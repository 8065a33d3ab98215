"""Lazy imports: nothing is imported before it is used, and then the name is the module's."""

from __future__ import annotations

import builtins
import importlib
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

from mrl4rec.core import lazy

FILES = {
    "lazytown/__init__.py": "",
    "lazytown/one.py": "VALUE = 1",
    "lazytown/two.py": "VALUE = 2",
    "lazytown/deep/__init__.py": "",
    "lazytown/deep/three.py": "VALUE = 3",
}


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.startswith("lazytown")]:
        del sys.modules[name]


def run(code: str) -> dict[str, object]:
    """The globals of a file with this block."""
    scope: dict[str, object] = {"lazy": lazy}
    indented = "".join(f"    {line}\n" for line in code.splitlines())
    exec(f"with lazy.imports():\n{indented}", scope)
    return scope


def loaded() -> set[str]:
    return {name for name in sys.modules if name.startswith("lazytown.")}


@pytest.mark.usefixtures("town")
@pytest.mark.parametrize(
    ("code", "expression", "value", "loads"),
    [
        ("from lazytown import one", "one.VALUE", 1, {"lazytown.one"}),
        ("from lazytown import one as other", "other.VALUE", 1, {"lazytown.one"}),
        ("import lazytown.one", "lazytown.one.VALUE", 1, {"lazytown.one"}),
        ("import lazytown.two as two", "two.VALUE", 2, {"lazytown.two"}),
        ("from lazytown import one, two", "two.VALUE", 2, {"lazytown.two"}),
        (
            "from lazytown.deep import three",
            "three.VALUE",
            3,
            {"lazytown.deep", "lazytown.deep.three"},
        ),
        (
            "import lazytown.one\nimport lazytown.two",
            "lazytown.two.VALUE + lazytown.one.VALUE",
            3,
            {"lazytown.one", "lazytown.two"},
        ),
    ],
)
def test_a_module_is_imported_at_its_first_use(
    code: str, expression: str, value: int, loads: set[str]
) -> None:
    scope = run(code)
    assert not loaded()
    assert eval(expression, scope) == value
    assert loaded() == loads
    name = expression.split(".")[0]
    assert scope[name] is sys.modules[scope[name].__name__]  # no longer a stand-in


@pytest.mark.usefixtures("town")
def test_only_modules_can_be_named() -> None:
    scope = run("from lazytown.one import VALUE")
    with pytest.raises(ModuleNotFoundError):
        eval("VALUE.bit_length", scope)


@pytest.mark.usefixtures("town")
def test_the_attribute_that_is_missing_is_named() -> None:
    with pytest.raises(AttributeError, match="ANOTHER"):
        eval("one.ANOTHER", run("from lazytown import one"))


@pytest.mark.usefixtures("town")
def test_other_files_and_later_statements_import_as_ever() -> None:
    usual = builtins.__import__
    other: dict[str, object] = {}
    with lazy.imports():
        exec("import lazytown.one", other)
    assert loaded() == {"lazytown.one"}
    with pytest.raises(ZeroDivisionError), lazy.imports():
        _ = 1 / 0
    with pytest.raises(ImportError):
        run("from . import one")
    assert builtins.__import__ is usual


@pytest.mark.usefixtures("town")
def test_what_is_needed_soon_can_be_loaded() -> None:
    scope = run("from lazytown import one, two")
    one, two = scope["one"], scope["two"]
    assert isinstance(one, ModuleType)
    assert isinstance(two, ModuleType)
    lazy.load(one, two)
    assert loaded() == {"lazytown.one", "lazytown.two"}


def test_a_thread_that_imports_the_package_meanwhile_is_waited_for(
    town: None, tmp_path: Path
) -> None:
    """Else each waits for what the other holds, and Python gives out half of a module."""
    home = tmp_path / "lazytown"
    (home / "__init__.py").write_text("import lazytown.two\n")
    (home / "two.py").write_text("import time\ntime.sleep(0.3)\nfrom lazytown.one import VALUE\n")
    (home / "one.py").write_text("import lazytown.two\nVALUE = 1\n")
    failed: list[BaseException] = []

    def imports() -> None:
        try:
            importlib.import_module("lazytown")
        except ImportError as error:
            failed.append(error)

    thread = threading.Thread(target=imports)
    thread.start()
    while "lazytown.two" not in sys.modules:
        time.sleep(0.01)
    one = run("from lazytown import one")["one"]
    assert one.VALUE == 1
    thread.join()
    assert failed == []
