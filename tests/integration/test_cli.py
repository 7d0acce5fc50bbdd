"""The command line as people and scripts meet it: exit statuses, one line for an error, help everywhere."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import yaml

from gateway.config import parse_config
from tests.support.command import facegate

GOOD = """
upstream: {credentials: [{name: primary, api_id_env: ID, api_secret_env: SECRET}]}
auth:
  anonymous_tenant: kyc
  jwt_issuers: [{issuer: 'https://issuer.example', audience: facegate, jwks_url: 'https://issuer.example/keys'}]
tenants:
  - id: kyc
    principals:
      - {token_sha256: %s}
      - {spiffe_id: spiffe://corp.example/api}
      - {jwt_issuer: 'https://issuer.example', jwt_subject: api}
    face_sets: {employees: employees-prod}
    limits: {rate: {per_second: 50}, upstream_calls: {per_day: 1000}}
  - {id: ops, role: operator}
""" % ("a" * 64)
SECRETS = {"ID": "an-id", "SECRET": "hunter2"}


async def test_help_is_quick() -> None:
    """Help loads nothing of what commands need, which is what would make it slow: no gRPC, no pydantic."""
    script = (
        "import sys; from gateway.cli.main import run; run(['--help']); print(sorted(sys.modules), file=sys.stderr)"
    )
    import asyncio

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, modules = await process.communicate()
    for heavy in (b"'grpc'", b"'pydantic'", b"'rich'", b"'aiohttp'", b"'asyncio'"):
        assert heavy not in modules


@pytest.mark.parametrize(
    ("arguments", "status"), [(["--version"], 0), ([], 2), (["nonsense"], 2), (["config", "check", "/nowhere"], 1)]
)
async def test_the_process_ends_with_the_status(arguments: list[str], status: int) -> None:
    """0, 1 for a failure, 2 for wrong usage: as a script sees it."""
    result = await facegate(*arguments)
    assert result.status == status
    assert "Traceback" not in result.err


async def test_config_check_tells_every_problem(tmp_path: Path) -> None:
    """A line each on stderr, nothing on stdout, status 1, no traceback."""
    file = tmp_path / "facegate.yaml"
    file.write_text("server: {listn: x, insecure: maybe}\nupstream: {credentials: [{name: a, api_secret: hunter2}]}")
    result = await facegate("config", "check", str(file), environ={"FACEGATE_CACHE__WIDEN": "x"})
    assert result.status == 1
    assert result.out == ""
    assert len(result.err.splitlines()) == 4
    assert f'facegate: {file}:1: server.listn: unknown key, did you mean "server.listen"?' in result.err
    assert "(set by FACEGATE_CACHE__WIDEN)" in result.err
    assert "hunter2" not in result.err


async def test_config_check_shows_no_secret_in_the_place_of_a_name(tmp_path: Path) -> None:
    """Whoever writes the secret itself where its variable's name belongs does not find it in a pipeline's log."""
    file = tmp_path / "facegate.yaml"
    file.write_text("upstream: {credentials: [{name: a, api_id_env: an1d, api_secret_env: hunter2}]}")
    result = await facegate("config", "check", str(file))
    assert result.status == 1
    assert "upstream.credentials.0.api_secret_env: the environment variable that it names is not set" in result.err
    assert "hunter2" not in result.out + result.err
    assert "an1d" not in result.out + result.err


async def test_config_check_says_what_each_tenant_may_do(tmp_path: Path) -> None:
    """Methods, face sets, limits and the ways to prove oneself; never a secret or the upstream's names."""
    file = tmp_path / "facegate.yaml"
    file.write_text(GOOD)
    result = await facegate("config", "check", str(file), environ=SECRETS)
    assert result.status == 0
    kyc, ops = result.out.split("tenant ")[1:]
    assert kyc.startswith("kyc (caller)")
    assert "may call          SearchFace, BulkSearchFaces, GetQuota, GetUsage\n" in kyc
    assert "GetUsage, PurgeCache, ListTenantUsage, GetStatus\n" in ops
    assert "JWT of https://issuer.example for api (audience facegate)" in kyc
    assert "no credentials at all (this machine only); 1 static token(s)" in result.out
    assert "spiffe://corp.example/api (unusable until server.tls.client_ca_file is set)" in result.out
    assert "employees" in result.out
    assert "50 calls a second (burst 50), 1000 upstream calls a day" in result.out
    assert "nothing: nobody can call as this tenant" in result.out
    for private in ("hunter2", "an-id", "employees-prod", "a" * 64):
        assert private not in result.out


async def test_a_warning_is_a_failure_if_it_is_asked_for(tmp_path: Path) -> None:
    """`--strict`, for pipelines: a tenant that nobody can be, and a variable that sets nothing."""
    file = tmp_path / "facegate.yaml"
    file.write_text(GOOD)
    call, environ = ("config", "check", str(file)), {**SECRETS, "FACEGATE_API_SECRET": "hunter3"}
    relaxed = await facegate(*call, environ=environ)
    strict = await facegate(*call, "--strict", environ=environ)
    assert (relaxed.status, strict.status, strict.out) == (0, 1, "")
    lines, new = strict.err.splitlines(), "`facegate token new ops`"
    assert lines[0].startswith("facegate: FACEGATE_API_SECRET: no setting, so ignored")
    assert lines[1:] == [
        "facegate: tenants.0 (kyc): its SPIFFE ids cannot be shown: set server.tls.client_ca_file",
        f"facegate: tenants.1 (ops): nobody can call as this tenant: add principals, such as one of {new}",
    ]
    assert relaxed.err == strict.err.replace("facegate: ", "facegate: warning: ")
    assert "hunter" not in relaxed.out + relaxed.err + strict.err


async def test_a_configuration_is_checked_without_the_files_that_it_names() -> None:
    """As the chart makes it, by a pipe: the files are in the pod alone."""
    text = b"upstream: {credentials: [{name: a, api_id_file: /gone/id, api_secret_file: /gone/secret}]}\ntenants: %s"
    good = await facegate("config", "check", "--skip-files", "-", given=text % b"[{id: a}]")
    bad = await facegate("config", "check", "--skip-files", "-", given=text % b"[{id: A}]")
    assert (good.status, bad.status) == (0, 1)
    assert "/gone" not in good.err
    assert bad.err.startswith("facegate: /dev/stdin:2: tenants.0.id: must be")
    assert bad.err.count("\n") == 1


async def test_config_schema_is_json() -> None:
    """It can be piped into a file for an editor."""
    result = await facegate("config", "schema")
    assert result.status == 0
    assert json.loads(result.out)["$defs"]["ServerConfig"]["properties"]["listen"]["description"]


async def test_a_new_token_fits_the_configuration() -> None:
    """The digest is that of the token, the snippet is a configuration, and no two tokens are alike."""
    results = [await facegate("token", "new", "kyc") for _ in range(2)]
    tokens = [line for result in results for line in result.out.splitlines() if line.startswith("facegate_")]
    assert len(set(tokens)) == 2
    assert all(len(token) == len("facegate_") + 43 for token in tokens)
    snippet = results[0].out.partition("# For the gateway's configuration:\n")[2]
    config = parse_config(snippet)
    assert config.tenants[0].id == "kyc"
    assert config.tenants[0].principals[0].token_sha256 == hashlib.sha256(tokens[0].encode()).hexdigest()
    assert tokens[0] not in yaml.safe_dump(yaml.safe_load(snippet))


@pytest.mark.parametrize(
    "text", ["server: {listen: '0.0.0.0:50051'}", "sever: {}", "[", "upstream: {credentials: [{name: a}]}"]
)
async def test_serve_refuses_a_bad_configuration(text: str, tmp_path: Path) -> None:
    """It does not start: status 1, a line a problem."""
    file = tmp_path / "facegate.yaml"
    file.write_text(text)
    result = await facegate("serve", "--config", str(file))
    assert result.status == 1
    assert all(line.startswith("facegate: ") for line in result.err.splitlines())
    assert result.err
    assert result.out == ""


@pytest.mark.parametrize("command", [("sandbox",), ("demo", "--once")])
async def test_an_image_without_the_sandbox_says_so(command: tuple[str, ...], tmp_path: Path) -> None:
    """The image for production holds none; the command says which one does."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['gateway.sandbox'] = None\n")
    result = await facegate(*command, environ={"PYTHONPATH": str(tmp_path)})
    assert (result.status, result.out) == (1, "")
    assert "make image-sandbox" in result.err
    assert result.err.count("\n") == 1
