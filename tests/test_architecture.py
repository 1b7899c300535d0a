"""The shape of the code: what may import what, where the heavy libraries live, how long a file may be."""

import ast
import functools
import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import natd

ROOT = Path(__file__).parent.parent
NATD = ROOT / "natd"
# Imports run one way: a module may import its own line and the lines above.
ORDER = [
    "errors clock wire endpoints interrupts procfs",
    "config config_faults settings packer unpacker tiling metrics audio logs notify",
    "codec codebooks sources sinks",
    "engine encoding training evaluation llm backlog intake vitals",
    "stream",
    "offline daemon",
    "cli __main__",
]
LEVEL = {part: level for level, line in enumerate(ORDER) for part in line.split()}
# Where a library may be imported at all, by the beginning of the path below natd/.
CONFINED = {
    "torch": ("codec/", "codebooks/", "training/", "evaluation/", "engine.py", "offline/"),
    "torchaudio": ("codec/", "codebooks/", "training/", "offline/"),
    "transformers": ("codec/", "training/", "offline/"),
    "zmq": ("sources/zeromq", "sinks/zeromq"),
    "sounddevice": ("sources/",),
    "pydantic": ("config", "settings.py"),
    "prometheus_client": ("metrics.py",),
    "aiohttp": ("sinks/http.py",),
    "matplotlib": ("offline/",),
    "rich": ("offline/", "cli/"),
    "scipy": ("training/", "offline/"),
}
FORBIDDEN = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "yaml"}
WHOLE_CONFIG = ("config", "daemon", "cli")  # who may see it; a part receives its own section
NEVER_IN_THE_DAEMON = ("natd.training", "natd.evaluation", "natd.offline", "natd.codebooks.fit", "matplotlib", "scipy")
MAX_LINES = 400
VAGUE = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}

FILES = sorted(NATD.rglob("*.py"))
CLIENTS = sorted((ROOT / "clients").glob("*.py"))


def below(path: Path) -> str:
    return path.relative_to(NATD).as_posix()


def part(name: str) -> str:
    """`natd.sinks.http` -> `sinks`; the package itself has no part."""
    return (name.split(".") + [""])[1]


def module_of(path: Path) -> str:
    words = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(words[:-1] if words[-1] == "__init__" else words)


@functools.cache
def imports(path: Path) -> list[tuple[int, str]]:
    """(line, module or module.name) of all imports of a file, also those inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


def own_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Those of natd itself, as names of modules."""
    for line, name in imports(path):
        if name.split(".")[0] == "natd":
            yield line, name if name in MODULES else name.rpartition(".")[0]


MODULES = {module_of(path): path for path in FILES}
each_file = pytest.mark.parametrize("path", FILES, ids=below)
each_source = pytest.mark.parametrize("path", FILES + CLIENTS, ids=lambda p: p.relative_to(ROOT).as_posix())


@each_file
def test_every_module_has_its_place(path):
    assert part(module_of(path)) in {*LEVEL, ""}


@each_file
def test_imports_run_one_way(path):
    here = part(module_of(path))
    wrong = [
        f"{below(path)}:{line} imports {name}"
        for line, name in own_imports(path)
        if here and part(name) and LEVEL[part(name)] > LEVEL[here]
    ]
    assert not wrong


def test_no_module_imports_itself_over_others():
    edges = {name: {of for _, of in own_imports(path)} - {name} for name, path in MODULES.items()}
    # A package's own __init__ is imported with any of its modules, so only edges between modules make a circle.
    done: set[str] = set()

    def walk(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(edges.get(name, ())):
                walk(other, (*above, name))
            done.add(name)

    for name in sorted(edges):
        walk(name, ())


@each_file
def test_libraries_stay_where_they_belong(path):
    wrong = []
    for line, name in imports(path):
        library = name.split(".")[0]
        if library in FORBIDDEN or not below(path).startswith(CONFINED.get(library, ("",))):
            wrong.append(f"{below(path)}:{line} imports {library}")
    assert not wrong


@each_file
def test_a_part_never_sees_the_whole_config(path):
    seen = [name for _, name in imports(path) if f"{name}.".startswith(("natd.config.", "natd.settings.Config."))]
    assert not seen or part(module_of(path)) in WHOLE_CONFIG


def reachable(start: str) -> set[str]:
    """Modules that importing and running `start` may load, natd's and others'."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in MODULES:
            own = {of for _, of in own_imports(MODULES[name])}
            foreign = {of for _, of in imports(MODULES[name]) if of.split(".")[0] != "natd"}
            todo += own | foreign | {name.rpartition(".")[0]} - {""}
    return seen


@pytest.mark.parametrize("start", ["natd.daemon", "natd.cli.natd", "natd.stream"])
def test_the_daemon_never_loads_training_or_plots(start):
    assert start in MODULES
    assert not [name for name in reachable(start) if f"{name}.".startswith(tuple(f"{n}." for n in NEVER_IN_THE_DAEMON))]


@each_file
def test_a_file_stays_short(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


@each_source
def test_a_file_says_what_it_is(path):
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))
    assert path.stem not in VAGUE


BROAD = ("Exception", "BaseException")


@each_source
def test_no_exception_is_swallowed(path):
    wrong = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or getattr(node.type, "id", "") in BROAD
            if broad and all(isinstance(statement, ast.Pass | ast.Continue) for statement in node.body):
                wrong.append(node.lineno)
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "suppress":
            wrong += [node.lineno for kind in node.args if getattr(kind, "id", "") in BROAD]
    assert not wrong


# ---- what importing does


def loaded_by(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after `statement`."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    return set(run.stdout.split())


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import natd", {"torch", "numpy", "zmq", "pydantic", "asyncio", "soxr", "sounddevice", "aiohttp"}),
        ("import natd.cli.natd", {"torch", "numpy", "zmq", "sounddevice", "aiohttp"}),
        ("import natd.cli.nat", {"torch", "numpy", "zmq", "sounddevice", "aiohttp"}),
        ("import natd.wire, natd.packer", {"torch", "zmq", "asyncio", "sounddevice"}),
        ("import natd.config, natd.metrics, natd.notify, natd.logs", {"torch", "zmq", "sounddevice"}),
        ("import natd.codec; natd.codec.names()", {"torch", "zmq", "sounddevice"}),
        ("import natd.sources.device", {"torch", "sounddevice"}),
        ("import natd.sinks.zeromq, natd.sinks.http, natd.sinks.ndjson", {"torch", "sounddevice"}),
    ],
)
def test_what_is_not_needed_is_not_loaded(statement, absent):
    assert not loaded_by(statement) & absent


def test_a_client_needs_neither_torch_nor_the_daemon():
    assert not loaded_by(f"sys.path.insert(0, {str(ROOT / 'clients')!r}); import natd_client") & {
        "torch",
        "numpy",
        "natd",
    }


def test_every_module_can_be_imported_and_keeps_its_public_names():
    for info in pkgutil.walk_packages(natd.__path__, "natd."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        for name in getattr(module, "__all__", ()):
            assert hasattr(module, name), f"{info.name}.{name}"


def test_what_is_public_is_documented():
    missing = []
    for info in pkgutil.walk_packages(natd.__path__, "natd."):
        if info.name.endswith("__main__"):
            continue
        for name, thing in inspect.getmembers(importlib.import_module(info.name)):
            mine = (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == info.name
            if mine and not name.startswith("_") and not thing.__doc__:
                missing.append(f"{info.name}.{name}")
    assert not missing
