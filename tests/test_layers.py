"""Who may import whom: the rule of CONTRIBUTING.md, read from the source; what users see; what `import tsattr` costs."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

import tsattr

ROOT = Path(tsattr.__file__).parent
FILES = {
    ".".join(["tsattr", *path.relative_to(ROOT).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}

# A room may import those of its own layer and of the layers before it. The core's ground comes first, then its wings.
LAYERS = [
    {"core"},
    {"core.baselines", "core.groups", "core.targets"},
    {"core.evaluation", "core.shift"},
    {"methods", "metrics"},
    {"labels", "version"},
    {"models"},
    {"edge"},
    {"comparison"},
    {"explain", "evaluate", "compare", "prepare", "public"},
    {"io", "datasets", "plot", "report", "estimators", "afex", "ecg", "climate", "cases", "parts", "testing"},
    {"cli", "demo", "__main__"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}


def part_of(module):
    return ([*module.split("."), ""])[1]


def room_of(module):
    """The package or loose module of `tsattr` that a module belongs to, with the wings of the core told apart."""
    wing = ".".join(module.split(".")[1:3])
    return wing if wing in LEVEL else part_of(module)


def imports(name, path):
    """(module, at the top of the file) for each import; names of the package in full."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    inner = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.Lambda) for n in ast.walk(f)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            found = [f"{base}.{a.name}" if f"{base}.{a.name}" in FILES else base for a in node.names]
        else:
            continue
        for module in found:
            yield module, id(node) not in inner


EDGES = {name: list(imports(name, path)) for name, path in FILES.items()}


def test_the_reader_of_imports_sees_what_is_there():
    assert ("tsattr.core.samples", True) in EDGES["tsattr.methods.gradient"]
    assert ("tsattr.core.targets.call_targets", True) in EDGES["tsattr.edge.call"]
    assert ("tsattr.core.axes", True) in EDGES["tsattr.core.groups.windows"]
    assert ("tsattr.core.engine", True) in EDGES["tsattr.core.samples"]
    assert ("torch", True) in EDGES["tsattr.core.engine"]
    assert any(module == "tqdm.auto" and not top for module, top in EDGES["tsattr.edge.progress"])


@pytest.mark.parametrize("name", [n for n in FILES if n != "tsattr"])
def test_every_module_has_a_layer_and_imports_none_above_it(name):
    assert room_of(name) in LEVEL, f"{name} is in no layer: add it to this test and, if it is new, to CONTRIBUTING.md"
    inside = {m for m, _ in EDGES[name] if m.split(".")[0] == "tsattr"}
    above = {m for m in inside if part_of(m) and LEVEL[room_of(m)] > LEVEL[room_of(name)]}
    assert not above, f"{name} imports {sorted(above)}, of a layer above its own"
    if LEVEL[room_of(name)] < len(LAYERS) - 1:
        assert "tsattr" not in inside, f"{name} imports the root, which imports nearly all"


def cycles(arrows):
    """The sets of nodes that lead to each other, from pairs (node, where it leads)."""
    nodes = sorted({n for arrow in arrows for n in arrow})
    at = {n: k for k, n in enumerate(nodes)}
    rows, columns = zip(*((at[a], at[b]) for a, b in arrows))
    _, which = connected_components(
        csr_array(([1] * len(rows), (rows, columns)), shape=(len(at),) * 2), connection="strong"
    )
    found = [[n for n in nodes if which[at[n]] == k] for k in set(which)]
    return [c for c in found if len(c) > 1]


def test_cycles_are_seen():
    assert cycles([("a", "b"), ("b", "c"), ("c", "b"), ("c", "d")]) == [["b", "c"]]


def test_no_import_goes_round_in_a_circle_not_even_inside_a_function():
    arrows = [(name, m) for name, edges in EDGES.items() for m, _ in edges if m in FILES and m != name]
    assert cycles(arrows) == []
    rooms = {(room_of(a), room_of(b)) for a, b in arrows if room_of(a) != room_of(b) and "" not in map(room_of, (a, b))}
    assert cycles(rooms) == []


@pytest.mark.parametrize("layer", ["methods", "metrics"])
def test_methods_and_metrics_use_the_core_only_and_not_each_other(layer):
    for name in FILES:
        if name.startswith(f"tsattr.{layer}.") or (layer == "methods" and name == "tsattr.methods"):
            inside = {m for m, _ in EDGES[name] if m.startswith("tsattr.")}
            allowed = {m for m in inside if part_of(m) == "core" or (layer == "metrics" and part_of(m) == "metrics")}
            assert inside == allowed, f"{name} imports {sorted(inside - allowed)}"


def third_party(prefixes, top_only):
    return {
        module.split(".")[0]
        for name, edges in EDGES.items()
        if part_of(name) in prefixes
        for module, top in edges
        if (top or not top_only) and module.split(".")[0] not in (*sys.stdlib_module_names, "tsattr")
    }


def test_the_core_is_plain_arrays():
    assert third_party({"core", "methods"}, top_only=True) <= {"torch", "numpy"}
    assert third_party({"core", "methods"}, top_only=False) <= {"torch", "numpy", "scipy", "sklearn", "tqdm"}
    assert third_party({"metrics"}, top_only=True) <= {"torch", "numpy", "xarray"}  # tables of scores have labels
    assert third_party({"metrics"}, top_only=False) <= {"torch", "numpy", "xarray", "scipy", "sklearn"}


def test_the_edge_imports_what_importing_tsattr_may_load():
    edge = {"explain", "evaluate", "compare", "prepare", "public", "comparison", "edge", "labels", "models", "version"}
    assert third_party(edge, top_only=True) <= {"torch", "numpy", "pandas", "xarray"}


def test_only_the_core_knows_no_labels():
    assert not {"xarray", "pandas"} & third_party({"core", "methods"}, top_only=False)


METHODS = """AugmentedOcclusion FIT FeatureOcclusion GradCAM GuidedBackprop InputXGradient IntegratedGradients KernelShap
    LearnedAttention Occlusion Saliency ShapleyInteractions ShapleySampling SmoothGrad TemporalRescaling WinIT"""
BASELINES = """AutoRegressive BandStop Blur Boundary Bridge Climatology ConditionalGaussian Constant Gaussian Generator Hold
    Inpaint Jitter JointGenerator Marginal MaximumDistance Mean MedianBeat Missing Mixture Mode PhaseRandomised Projection Samples
    Typical Uniform"""
SEEN = {
    "": f"""{METHODS} AFEXClassifier AFEXExplainer AFEXRegressor AttributionTransformer ExplanationWarning LFICAM __version__
        afex baselines cases climate compare datasets ecg estimators evaluate explain groups io metrics models parts plot prepare read_wfdb report
        targets testing write_wfdb""",
    "baselines": BASELINES,
    "groups": "Along Cells Labelled Windows split",
    "targets": """Difference Divergence Each Function LogOdds Margin Member Output Predicted Probability Projection Region
        RootMeanSquare Uncertainty""",
    "models": "Coupling Ensemble Invertible dropout last_step on_arrays on_frames rollout summed",
}


@pytest.mark.parametrize("module", SEEN)
def test_users_see_what_they_may_use_and_nothing_else(module):
    found = getattr(tsattr, module) if module else tsattr
    assert dir(found) == sorted(SEEN[module].split())
    assert all(hasattr(found, name) for name in dir(found))


@pytest.mark.parametrize("module", [name for name in SEEN[""].split() if inspect.ismodule(getattr(tsattr, name))])
def test_modules_show_what_they_name_and_nothing_else(module):
    found = getattr(tsattr, module)
    assert dir(found) == sorted(found.__all__)
    assert all(hasattr(found, name) for name in found.__all__)


LOADED = "import sys; before = set(sys.modules)\n{}\nprint(*sorted(set(sys.modules) - before))"
HELP = """
from tsattr.cli import main
try:
    main({!r}.split())
except SystemExit as stop:
    assert stop.code == 0
"""


def loaded(code):
    """The libraries that some lines of Python load in a process of their own."""
    run = subprocess.run([sys.executable, "-c", LOADED.format(code)], capture_output=True, text=True, check=True)
    found = {module.split(".")[0] for module in run.stdout.splitlines()[-1].split()}
    return {module for module in found - sys.stdlib_module_names if not module.startswith("_")}


@pytest.mark.parametrize(
    "code", ["import tsattr; tsattr.__version__; dir(tsattr)", *map(HELP.format, ("-h", "--version", "explain -h"))]
)
def test_the_package_and_the_help_of_its_command_line_wait_for_no_library(code):
    assert loaded(code) == {"tsattr"}


def test_verbs_are_not_hidden_by_the_modules_that_they_are_in():
    code = "import tsattr.cases, tsattr.explain, tsattr.compare, tsattr.evaluate, tsattr.prepare\nimport tsattr as ta\n"
    code += "print(*(type(v).__name__ for v in (ta.explain, ta.compare, ta.evaluate, ta.prepare)), ta.models.__name__)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["function"] * 4 + ["tsattr.models"]


def test_what_is_loaded_by_itself_knows_every_method():
    code = "from tsattr.report import words\nprint(*words.METHODS)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == METHODS.split()


IMPORT = """
import sys, time
import torch, xarray
before = set(sys.modules)
start = time.process_time()
import tsattr
tsattr.explain
print(time.process_time() - start, *sorted(set(sys.modules) - before))
"""


def test_importing_tsattr_is_quick_and_loads_no_heavy_library():
    runs = [
        subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True) for _ in range(2)
    ]
    took, *added = min((r.stdout.split() for r in runs), key=lambda words: float(words[0]))
    assert "tsattr.core.engine" in added
    heavy = {"matplotlib", "wfdb", "dask", "sklearn", "scipy", "captum", "tqdm", "zarr", "h5py", "h5netcdf", "netCDF4"}
    assert not heavy & {module.split(".")[0] for module in added}
    assert float(took) < 0.5


@pytest.mark.parametrize(
    "name",
    [
        "AFEXRegressor",
        "afex",
        "cases",
        "parts",
        "climate",
        "datasets",
        "ecg",
        "estimators",
        "io",
        "metrics",
        "plot",
        "report",
        "testing",
        "read_wfdb",
    ],
)
def test_lazy_names_are_listed_and_found(name):
    assert name in dir(tsattr)
    assert getattr(tsattr, name) is not None


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'tsattr' has no attribute 'explian'"):
        tsattr.explian  # noqa: B018
