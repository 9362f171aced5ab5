"""The test-suite of API resources that OpenAI generates for its own SDK, pointed at Ringside.

It is in the SDK's source distribution on PyPI, which is fetched once. The provider is `upstreams/openai_api.py`, which
answers by the SDK's typed models. Each test runs at `/v1` and at `/providers/{name}`; what fails there must be in
`FAILS` with its reason, and what is in it must fail. The table in docs/providers.md lists what passes; `MATRIX=write` writes it.
"""

import collections
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree

import pytest

from conftest import ROOT, Gateway, model, stop
from upstreams.openai_api import Api

VERSION = importlib.metadata.version("openai")
# Of that version's source distribution; it changes with the version in requirements.txt.
SHA256 = "e3e6f8bc1ba30ddf381ace1a14340eed381cb984a1a59bd0f34b5be3b5d49cfa"
BASES = {"/v1": "/v1", "/providers/{name}": "/providers/own"}
PAGE = ROOT / "docs" / "providers.md"
PER_RUN_S = 600
SETTINGS = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = session\n"
NO_MODEL = "requests that name no model, which says where they go"
OTHERS = "ids of answers that no caller of the gateway was given"
# At `/v1`, by resource: which tests fail, with which code, and why.
FAILS = {
    "beta/responses": [
        (r"_create_overload", "invalid_request", NO_MODEL),
        (r"_create_with_all_params", "stateful_not_supported", "`conversation`"),
        (r"_(cancel|delete|retrieve)", "response_not_found", OTHERS),
        (r"_compact", "unknown_path", "not served"),
    ],
    "beta/responses/input_items": [(r"_list", "response_not_found", OTHERS)],
    "beta/responses/input_tokens": [(r"_count", "unknown_path", "not served")],
    "chat/completions": [
        (r"_list", "method_not_allowed", "stored chats"), (r"_(delete|retrieve|update)", "unknown_path", "stored chats"),
    ],
    "chat/completions/messages": [(r"_list", "unknown_path", "stored chats")],
    "images": [(r"_(create_variation$|edit_overload|generate_overload)", "invalid_request", NO_MODEL)],
    "models": [(r"_delete", "method_not_allowed", "models are named in the configuration")],
    "moderations": [(r"_(method|raw_response|streaming_response)_create$", "invalid_request", NO_MODEL)],
}
for name in ("responses", "responses/input_items", "responses/input_tokens"):
    FAILS[name] = FAILS[f"beta/{name}"]
SERVED = ["audio", "batches", "beta/responses", "chat", "completions", "embeddings", "files", "images", "models", "moderations", "responses"]
outcomes = {}


@pytest.fixture(scope="module")
def suite(request):
    """The folder of the source distribution, fetched unless it is there."""
    folder = request.config.cache.mkdir("openai-suite")
    root = folder / f"openai-{VERSION}"
    if not root.exists():
        (folder / "wanted").write_text(f"openai=={VERSION} --hash=sha256:{SHA256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", "openai"]
        subprocess.run([*pip, "--require-hashes", "--dest", folder, "--requirement", folder / "wanted"], check=True)
        # Its checksum was compared.
        with tarfile.open(folder / f"openai-{VERSION}.tar.gz") as archive:
            archive.extractall(folder / "unpacked")
        (folder / "unpacked" / root.name).rename(root)
    (root / "ringside.ini").write_text(SETTINGS)
    return root


@pytest.fixture(scope="module")
def api():
    started = Api()
    yield started
    started.stop()


def names_of_models(suite):
    """What the tests ask for by name."""
    texts = [file.read_text() for file in (suite / "tests" / "api_resources").rglob("*.py")]
    return sorted({name for text in texts for name in re.findall(r'\bmodel="([^"]+)"', text)})


@pytest.fixture(scope="module", params=["io_uring", "epoll"])
def gateway(request, api, suite, tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    (folder / "own").write_text("key-own")
    config = f'[[providers]]\nname = "own"\nkind = "openai"\nbase_url = "{api.url}/v1"\nresponses = "pass"\napi_keys = ["file:own"]\n'
    config += "".join(model(name, "own", name) for name in names_of_models(suite))
    gateway = Gateway(folder, request.param, config)
    yield gateway
    stop(gateway.process)


def run(suite, url, report, *chosen):
    """What became of each of these tests, by resource and name: of those that read answers strictly."""
    command = [sys.executable, "-m", "pytest", "-c", "ringside.ini", "--rootdir", ".", "-q", "--tb=line", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [*command, "-W", "ignore", "-k", "strict", f"--junitxml={report}", *chosen],
        cwd=suite, env=os.environ | {"TEST_API_BASE_URL": url}, timeout=PER_RUN_S, capture_output=True, text=True,
    )
    assert ended.returncode in (0, 1), ended.stdout[-3000:] + ended.stderr[-3000:]
    found = {}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        # `tests.api_resources.chat.test_completions.TestCompletions`; a few tests stand outside a class.
        folders, _, rest = case.get("classname").removeprefix("tests.api_resources.").rpartition("test_")
        resource = folders.replace(".", "/") + rest.partition(".")[0]
        found[resource, case.get("name"), rest] = {child.tag: child.get("message") for child in case}
    return found


def reason(resource, name):
    """Why a test fails at `/v1`: code and words; none if it must pass."""
    bare = name.partition("[")[0]
    fits = [rest for pattern, *rest in FAILS.get(resource, []) if re.search(pattern, bare) and "path_params" not in bare]
    return fits[0] if fits else None


def is_served(resource):
    return any(resource == one or resource.startswith(f"{one}/") for one in SERVED)


def paths_of_tests(suite, served_only):
    """Paths of the tests of every resource, or of the resources that are served at `/v1`."""
    tests = suite / "tests" / "api_resources"
    paths = [path for resource in SERVED for path in (tests / resource, (tests / resource).parent / f"test_{(tests / resource).name}.py")]
    return [path for path in paths if path.exists()] if served_only else [tests]


@pytest.mark.parametrize("base", BASES)
def test_the_suite(request, gateway, suite, api, tmp_path, base):
    at_v1 = base == "/v1"
    url = gateway.url.removesuffix("/v1") + BASES[base]
    found = run(suite, url, tmp_path / "report.xml", *paths_of_tests(suite, at_v1))
    assert len(found) > (100 if at_v1 else 2000) and not api.unknown, api.unknown
    wrong = []
    for (resource, name, _), what in found.items():
        expected, failure = at_v1 and reason(resource, name), what.get("failure") or what.get("error")
        if bool(expected) != bool(failure) or (expected and f"'{expected[0]}'" not in failure):
            wrong.append(f"{resource} {name}: " + (failure or f"passes; take it out of FAILS: {expected}")[:300])
    assert not wrong, "\n".join(sorted(wrong))
    if "io_uring" in request.node.name:
        outcomes[base] = {key: not what for key, what in found.items() if "skipped" not in what}


def sends_nothing(suite):
    """Whether a test sends nothing: the SDK has a mocked transport, or refuses the request itself."""
    text = lambda resource: (suite / "tests" / "api_resources" / re.sub(r"([^/]+)$", r"test_\1.py", resource)).read_text()
    mocked = {one: set(re.findall(r"def (test_\w+)\([^)]*respx_mock", text(one))) for one, *_ in outcomes["/providers/{name}"]}
    bare = lambda name: name.partition("[")[0]
    return lambda key: "path_params" in key[1] or bare(key[1]) in mocked[key[0]] or "." not in key[2]


def test_the_page_shows_what_passed(suite):
    every, here = outcomes["/providers/{name}"], outcomes["/v1"]
    resources = sorted({resource for resource, *_ in every}, key=lambda one: (not is_served(one), one))
    quiet, rows, others = sends_nothing(suite), [], collections.Counter()
    for resource in resources:
        of = [key for key in every if key[0] == resource]
        loud = [key for key in of if not quiet(key)]
        count = lambda outcome: sum(outcome[key] for key in loud)
        if not is_served(resource):
            others.update({"resources": 1, "tests": len(loud), "passed": count(every), "quiet": len(of) - len(loud)})
            continue
        why = "; ".join(dict.fromkeys(words for _, _, words in FAILS.get(resource, [])))
        others["quiet"] += len(of) - len(loud)
        if loud:
            rows.append(f"| `{resource}` | {len(loud)} | {count(here)} | {count(every)} | {why} |")
    rows.append(f"| {others['resources']} more | {others['tests']} | not under `/v1` | {others['passed']} | |")
    head = "| resource | tests | pass at `/v1` | pass at `/providers/{name}` | what fails at `/v1` |\n|---|---|---|---|---|\n"
    not_counted = f"\nA further {others['quiet']} tests pass and are not counted: they send nothing."
    before, rest = PAGE.read_text().split("<!-- suite -->\n")[0], PAGE.read_text().split("<!-- suite end -->")[1]
    page = f"{before}<!-- suite -->\n{head}" + "\n".join(rows) + f"\n{not_counted}\n<!-- suite end -->{rest}"
    if os.environ.get("MATRIX") == "write":
        PAGE.write_text(page)
    assert PAGE.read_text() == page
