"""Settings by environment take precedence over the file; a variable that is nearly one is an error, others are ignored."""

from __future__ import annotations

import pytest

from gateway.config import ConfigError, config_warnings, parse_config, unused_variables


def test_a_variable_goes_before_the_file() -> None:
    """Its value is read as YAML: numbers, truths, lists and mappings, and blank for the default."""
    config = parse_config(
        "server: {listen: '127.0.0.1:1', drain_seconds: 7}",
        {
            "FACEGATE_SERVER__LISTEN": "127.0.0.1:2",
            "FACEGATE_SERVER__REFLECTION": "false",
            "FACEGATE_SERVER__DRAIN_SECONDS": "",
            "FACEGATE_CACHE": "{ttl_seconds: 30}",
            "FACEGATE_TENANTS": "[{id: a, face_sets: {x-y: z}}]",
        },
    )
    assert config.server.listen == "127.0.0.1:2"
    assert config.server.reflection is False
    assert config.server.drain_seconds == 25
    assert config.cache.ttl_seconds == 30
    assert config.tenants[0].face_sets == {"x-y": "z"}


def test_entries_of_lists_are_counted_from_0() -> None:
    """A number changes an entry or adds the next one."""
    file = "upstream: {credentials: [{name: a, api_id_file: /a, api_secret_file: /b}]}"
    config = parse_config(
        file,
        {
            "FACEGATE_UPSTREAM__CREDENTIALS__0__API_ID_FILE": "/c",
            "FACEGATE_UPSTREAM__CREDENTIALS__1__NAME": "second",
        },
    )
    assert str(config.upstream.credentials[0].api_id_file) == "/c"
    assert str(config.upstream.credentials[0].api_secret_file) == "/b"
    assert config.upstream.credentials[1].name == "second"


def test_a_list_can_come_from_the_environment_alone() -> None:
    """Without a file, entry 0 starts the list."""
    config = parse_config("", {"FACEGATE_UPSTREAM__CREDENTIALS__0__NAME": "a"})
    assert config.upstream.credentials[0].name == "a"


@pytest.mark.parametrize("address", ["[::1]:50051", '"[::1]:50051"', " [::1]:50051\n"])
def test_an_address_needs_no_quotes(address: str) -> None:
    """YAML would take it for the beginning of a list."""
    assert parse_config("", {"FACEGATE_SERVER__LISTEN": address}).server.listen == "[::1]:50051"


def test_a_setting_that_is_text_is_taken_as_it_is() -> None:
    """Numbers, dates and truths are text where text belongs, in lists, mappings and file names too; blank is the default."""
    config = parse_config(
        "auth: {spiffe_trust_domain: corp.example}",
        {
            "FACEGATE_TENANTS__0__ID": "2024",
            "FACEGATE_TENANTS__0__ROLE": "operator",
            "FACEGATE_TENANTS__0__PRINCIPALS__0__TOKEN_SHA256": "12345678" * 8,
            "FACEGATE_TENANTS__0__FACE_SETS": "{a: b}",
            "FACEGATE_TENANTS__0__FACE_SETS__STAFF": "2026-01-31",
            "FACEGATE_TENANTS__0__FACE_SETS__GUESTS": "yes",
            "FACEGATE_STORES__KEY_FILE": "7",
            "FACEGATE_AUTH__SPIFFE_TRUST_DOMAIN": "",
        },
    )
    [tenant] = config.tenants
    assert (tenant.id, tenant.role, tenant.principals[0].token_sha256) == ("2024", "operator", "12345678" * 8)
    assert tenant.face_sets == {"a": "b", "staff": "2026-01-31", "guests": "yes"}
    assert str(config.stores.key_file) == "7"
    assert config.auth.spiffe_trust_domain is None


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("FACEGATE_SERVER__LISTN", "x", 'server.listn: unknown key, did you mean "server.listen"?'),
        ("FACEGATE_SEVER__LISTEN", "x", 'sever: unknown key, did you mean "server"?'),
        ("FACEGATE_SERVER_LISTEN", "x", 'server_listen: unknown key, did you mean "server.listen"?'),
        (
            "FACEGATE_SERVER_TLS_CERT_FILE",
            "x",
            'server_tls_cert_file: unknown key, did you mean "server.tls.cert_file"?',
        ),
        ("FACEGATE_CACHE__TTL_SECONDS", "long", 'cache.ttl_seconds: must be a number, not "long"'),
        ("FACEGATE_CACHE__TTL_SECONDS", "[", "cache.ttl_seconds: line 2"),
        ("FACEGATE_TENANTS", "[", "tenants: line 2"),
        ("FACEGATE_UPSTREAM__CREDENTIALS__7__NAME", "a", "upstream.credentials.7.name: must go on with a number"),
        ("FACEGATE_CACHE__TTL_SECONDS__X", "1", "cache.ttl_seconds.x: goes deeper than the setting does"),
    ],
)
def test_a_problem_names_the_variable(name: str, value: str, problem: str) -> None:
    """Who set what is wrong is told: the file cannot be mended for it."""
    with pytest.raises(ConfigError) as caught:
        parse_config("cache: {ttl_seconds: 30}\nupstream: {credentials: [{name: a}]}", {name: value})
    [line] = caught.value.problems
    assert line.startswith(problem)
    assert line.endswith(f"(set by {name})")


def test_what_is_no_setting_is_left_alone() -> None:
    """The command line's variables, those that hold the secrets, and what Kubernetes sets beside a Service."""
    parse_config(
        "upstream: {credentials: [{name: a, api_id_env: FACEGATE_ID, api_secret_env: FACEGATE_SECRET}]}",
        {
            "FACEGATE_CONFIG": "/etc/facegate.yaml",
            "FACEGATE_TARGET": "127.0.0.1:1",
            "FACEGATE_ID": "id",
            "FACEGATE_SECRET": "secret",
            "FACEGATE_SERVICE_HOST": "10.0.0.1",
            "FACEGATE_SERVICE_PORT": "50051",
            "FACEGATE_SERVICE_PORT_GRPC": "50051",
            "FACEGATE_PORT": "tcp://10.0.0.1:50051",
            "FACEGATE_PORT_50051_TCP": "tcp://10.0.0.1:50051",
            "FACEGATE_PORT_50051_TCP_ADDR": "10.0.0.1",
            "FACEGATE_HEADLESS_SERVICE_HOST": "10.0.0.1",
            "UNRELATED": "x",
        },
    )


def test_a_variable_that_is_no_setting_is_ignored_and_named() -> None:
    """Among them the names of `examples/local.yaml` once the file names files: a deployment may have its own variables."""
    environ = {
        "FACEGATE_API_ID": "id",
        "FACEGATE_API_SECRET": "hunter2",
        "FACEGATE_NONSENSE": "[",
        "FACEGATE_UPSTREAM_PROXY_USER": "x",
        "FACEGATE_TOKEN_FILE": "/token",
        "FACEGATE_TLS": "true",
        "FACEGATE_CACHE__TTL_SECONDS": "30",
        "FACEGATE_PORT": "tcp://10.0.0.1:50051",
    }
    config = parse_config("upstream: {credentials: [{name: a, api_id_file: /a, api_secret_file: /b}]}", environ)
    ignored = ["FACEGATE_API_ID", "FACEGATE_API_SECRET", "FACEGATE_NONSENSE", "FACEGATE_UPSTREAM_PROXY_USER"]
    assert unused_variables(config, environ) == ignored
    line = next(config_warnings(config, environ))
    assert line.startswith(f"{', '.join(ignored)}: no setting, so ignored")
    assert "hunter2" not in line


def test_a_variable_that_the_file_names_is_in_use() -> None:
    """The same names in `examples/local.yaml` itself."""
    text = "upstream: {credentials: [{name: a, api_id_env: FACEGATE_API_ID, api_secret_env: FACEGATE_API_SECRET}]}"
    environ = {"FACEGATE_API_ID": "id", "FACEGATE_API_SECRET": "hunter2"}
    assert unused_variables(parse_config(text, environ), environ) == []
