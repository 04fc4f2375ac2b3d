"""Who imports whom: the rules of docs/architecture.md, read off the sources."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "workflow_scripts"
PACKAGE = {
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((REPOSITORY / "cross_thought").rglob("*.py"))
}
# what Snakemake itself brings: the workflow may use it before any job starts
WITH_SNAKEMAKE = {"snakemake", "yaml", "jsonschema"}
# the picture's parts, from the ground up: what belongs to them, and the floor
PARTS = {
    "ground": (("errors", "files", "jobs", "environment", "sources", "yaml_text"), 1),
    "encoder": (("encoder",), 2),
    "training": (("training",), 2),
    "data": (("data", "config", "extra_args"), 2),
    "inference": (("inference",), 3),
    "fairseq": (("fairseq",), 3),
    "evaluation": (("evaluation",), 3),
    "tables": (("tables",), 4),
    "command line": (("__main__", "plan", "progress"), 5),
}


def imported(nodes: Iterable[ast.AST], *, late: bool) -> Iterator[str]:
    """Yield the modules that code imports; `late`: inside functions and for type checkers as well."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            for name in node.names:
                submodule = f"{node.module}.{name.name}"
                yield submodule if submodule in PACKAGE else node.module or ""
        elif late or not (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        ):
            yield from imported(ast.iter_child_nodes(node), late=late)


@cache
def imports_of(path: Path, *, late: bool = False) -> frozenset[str]:
    """Return the modules that a file imports: when it is imported itself, or `late` as well."""
    return frozenset(imported(ast.parse(path.read_text(encoding="utf-8")).body, late=late))


def reached(names: frozenset[str]) -> set[str]:
    """Return all modules that importing some brings in, ours with their packages, others by their top level name."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        parts = name.split(".")
        if parts[0] != "cross_thought":
            found.add(parts[0])
            continue
        for module in (".".join(parts[:count]) for count in range(1, len(parts) + 1)):
            if module in PACKAGE and module not in found:
                found.add(module)
                queue += imports_of(PACKAGE[module])
    return found - set(sys.stdlib_module_names)


def others(modules: set[str]) -> set[str]:
    """Return those that are not ours."""
    return {module for module in modules if module not in PACKAGE}


def below(package: str) -> list[str]:
    return [module for module in PACKAGE if module == package or module.startswith(f"{package}.")]


def test_no_imports_go_round_in_a_circle() -> None:
    graph = {module: imports_of(path) & PACKAGE.keys() - {module} for module, path in PACKAGE.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(PACKAGE)


@pytest.mark.parametrize("module", ["layers", "segments", "encoder"])
def test_the_core_is_pure_pytorch(module: str) -> None:
    core = ("", ".encoder", ".encoder.encoder", ".encoder.layers", ".encoder.segments")
    modules = reached(frozenset({f"cross_thought.encoder.{module}"}))
    assert others(modules) == {"torch"}
    assert modules & PACKAGE.keys() <= {f"cross_thought{name}" for name in core}


def test_importing_the_package_imports_nothing_else() -> None:
    assert reached(frozenset({"cross_thought"})) == {"cross_thought"}


def test_before_any_job_the_workflow_needs_snakemake_alone() -> None:
    lines = [
        line
        for path in (REPOSITORY / "Snakefile", *(REPOSITORY / "rules").glob("*.smk"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"(from \S+ )?import ", line)
    ]
    modules = reached(frozenset(imported(ast.parse("\n".join(lines)).body, late=True)))
    assert "cross_thought.config" in modules
    assert others(modules) <= WITH_SNAKEMAKE  # so no torch, numpy, pandas or pyarrow
    assert not {"torch", "numpy", "pandas", "pyarrow"} & WITH_SNAKEMAKE


def test_fairseq_is_known_to_its_own_folder_alone() -> None:
    inside = below("cross_thought.fairseq")
    knowing = {module for module, path in PACKAGE.items() if {"fairseq", "fairseq_cli"} & roots(path)}
    assert knowing
    assert knowing <= set(inside)
    for module in PACKAGE.keys() - set(inside):
        assert "fairseq" not in reached(frozenset({module})), module


@pytest.mark.parametrize("script", ["pretrain", "finetune"])
def test_a_training_job_leaves_fairseq_to_the_process_that_trains(script: str) -> None:
    assert "fairseq" not in reached(imports_of(SCRIPTS / f"{script}.py"))


def test_what_scores_by_accuracy_alone_waits_for_no_scikit_learn() -> None:
    for script in ("score", "choose_setting", "make_table", "plot_cross_attention"):
        assert "sklearn" not in reached(imports_of(SCRIPTS / f"{script}.py")), script


def roots(path: Path) -> set[str]:
    """Return the top level names of all that a file imports, late or not."""
    return {name.split(".")[0] for name in imports_of(path, late=True)}


@pytest.mark.parametrize(
    ("package", "unknown"),
    [
        ("cross_thought", {"snakemake"}),
        ("cross_thought.data", {"torch"}),
        ("cross_thought.evaluation", {"torch"}),
        ("cross_thought.tables", {"torch"}),
        ("cross_thought.plan", {"torch", "numpy", "pandas"}),
    ],
)
def test_what_a_part_does_not_know(package: str, unknown: set[str]) -> None:
    for module in below(package):
        assert not reached(frozenset({module})) & unknown, module


def part_of(module: str) -> tuple[str, int]:
    """Return a module's part of the picture, and its floor."""
    place = module.split(".")[1]
    return next((part, floor) for part, (names, floor) in PARTS.items() if place in names)


def test_imports_go_down_the_floors() -> None:
    for module in PACKAGE.keys() - {"cross_thought"}:
        for name in imports_of(PACKAGE[module], late=True) & PACKAGE.keys() - {"cross_thought"}:
            (part, floor), (other, other_floor) = part_of(module), part_of(name)
            assert part == other or floor > other_floor, f"{module} imports {name}"


def scripts() -> list[tuple[str, str]]:
    """Return each script of a rule, with the environment that the rule runs it in."""
    pairs = []
    for path in sorted((REPOSITORY / "rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        text = text.replace("TRAINING_ENV", '"../envs/fairseq.yaml"').replace(
            "TRACKING_ENV", '"../envs/fairseq-tracking.yaml"'
        )
        pairs += re.findall(r'conda:\s+"\.\./envs/(.+?)".*?script:\s+"\.\./workflow_scripts/(.+?)"', text, re.DOTALL)
    return sorted((script, environment) for environment, script in pairs)


def with_dependencies(names: Iterable[str]) -> set[str]:
    """Return distributions with all that they require, as installed here, by their normalized names."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = re.sub(r"[-_.]+", "-", queue.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another system
        queue += [re.split(r"[^\w.-]", entry, maxsplit=1)[0] for entry in required if "extra ==" not in entry]
    return found


@cache
def providers() -> dict[str, list[str]]:
    """Return the distributions that bring each name to import."""
    return dict(metadata.packages_distributions())


@pytest.mark.parametrize(("script", "environment"), scripts())
def test_a_scripts_imports_are_in_its_environment(script: str, environment: str) -> None:
    packages = re.findall(r"- ([\w-]+)==", (REPOSITORY / "envs" / environment).read_text(encoding="utf-8"))
    provided = with_dependencies(packages)
    for name in others(reached(imports_of(SCRIPTS / script))):
        distributions = {re.sub(r"[-_.]+", "-", found).lower() for found in providers()[name]}
        assert distributions & provided, f"{script} imports {name}, which envs/{environment} lacks"


def test_what_a_script_imports_late_is_in_its_environment() -> None:
    late = {"finetune.py": {"fairseq"}, "make_table.py": {"scipy", "matplotlib"}}
    assert late.keys() <= {script for script, _ in scripts()}
    computing = []
    for script, environment in scripts():
        wanted = late.get(script, set())
        if "cross_thought.evaluation.metrics" in reached(imports_of(SCRIPTS / script)):
            computing.append(script)
            wanted = wanted | {"scikit-learn", "scipy"}
        packages = re.findall(r"- ([\w-]+)==", (REPOSITORY / "envs" / environment).read_text(encoding="utf-8"))
        assert wanted <= with_dependencies(packages), script
    assert "score.py" in computing


def test_environments_have_the_versions_of_the_plain_set_up() -> None:
    plain = set()
    for path in REPOSITORY.glob("requirements*.txt"):
        plain |= set(re.findall(r"^([\w-]+)(?:\[.*?\])?==([\w.]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    for path in (REPOSITORY / "envs").glob("*.yaml"):
        for name, version in re.findall(r"- ([\w-]+)==([\w.]+)", path.read_text(encoding="utf-8")):
            assert (name, version) in plain or name not in dict(plain), f"{path}: {name}=={version}"


def test_every_script_belongs_to_a_rule() -> None:
    files = {path.name for path in (REPOSITORY / "workflow_scripts").glob("*.py")}
    assert files == {script for script, _ in scripts()}


# what is paid for with days is not done anew for other code, nor is what decides on it; what is fetched has a checksum
WITHOUT_CODE = {
    "fetch_file.py",
    "unpack_checkpoint.py",
    "note_settings.py",
    "make_start.py",
    "pretrain.py",
    "finetune.py",
    "evaluate.py",
    "choose_setting.py",
    "take_chosen_run.py",
    "tune_embeddings.py",
}


def test_what_prepares_data_or_computes_numbers_depends_on_its_code() -> None:
    tracked = set()
    for path in (REPOSITORY / "rules").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        for environment, code, script in re.findall(
            r'conda:\s+(\S+)(?:(?!\brule ).)*?code=code_of\((.+?)\),\s+script:\s+"\.\./workflow_scripts/(.+?)"',
            text,
            re.DOTALL,
        ):
            assert code == f'"{script}", {environment}'.replace("../envs/", ""), path
            tracked.add(script)
    tables = (REPOSITORY / "rules" / "tables.smk").read_text(encoding="utf-8")
    assert re.search(r'code=code_of_table\(table\),\s+script:\s+"\.\./workflow_scripts/make_table\.py"', tables)
    tracked.add("make_table.py")
    assert tracked == {script for script, _ in scripts()} - WITHOUT_CODE


def test_messages_name_targets_that_there_are() -> None:
    targets = set(re.findall(r"^rule (\w+):", (REPOSITORY / "Snakefile").read_text(encoding="utf-8"), re.MULTILINE))
    for folder in ("cross_thought", "workflow_scripts", "rules"):
        for path in (REPOSITORY / folder).rglob("*.*"):
            if path.suffix in (".py", ".smk"):
                named = set(re.findall(r"`snakemake ([a-z]\w*)", path.read_text(encoding="utf-8")))
                assert named <= targets, path


def test_no_file_of_code_or_text_is_long() -> None:
    folders = ("cross_thought", "workflow_scripts", "rules", "tests", "benchmarks", "docs")
    files = [*REPOSITORY.glob("*.*"), *(path for name in folders for path in (REPOSITORY / name).rglob("*.*"))]
    for path in files:
        if path.suffix in (".py", ".smk", ".md"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_every_file_says_what_it_is_for() -> None:
    for path in (
        *PACKAGE.values(),
        *(REPOSITORY / "tests").rglob("*.py"),
        *(REPOSITORY / "benchmarks").glob("*.py"),
        *(REPOSITORY / "workflow_scripts").glob("*.py"),
        *(REPOSITORY / "rules").glob("*.smk"),
    ):
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        assert first.startswith('"""'), path
        assert first.rstrip('"').endswith((".", "?")), f"{path}: its first line is no whole sentence"
    for folder in ("config", "envs", "profiles"):
        for path in (REPOSITORY / folder).rglob("*.y*ml"):
            assert path.read_text(encoding="utf-8").startswith("# "), path
