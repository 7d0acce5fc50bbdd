"""Every problem of a configuration is told at once, by key and remedy, and never with a secret."""

from __future__ import annotations

import pytest

from gateway.config import ConfigError, parse_config

CERTIFICATE = "tls: {cert_file: /c.pem, key_file: /k.pem}"
DIGEST = "a" * 64


def problems(text: str, environ: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text, environ)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("server: {listn: x}", 'server.listn: unknown key, did you mean "server.listen"?'),
        ("sever: {}", 'sever: unknown key, did you mean "server"?'),
        ("drain_seconds: 3", 'drain_seconds: unknown key, the nearest is "server.drain_seconds"'),
        (
            "tenants: [{id: a, limits: {rate: {per_second: 1, brust: 3}}}]",
            'tenants.0.limits.rate.brust: unknown key, did you mean "tenants.0.limits.rate.burst"?',
        ),
        ("server: {max_concurrent_rpcs: many}", 'server.max_concurrent_rpcs: must be a whole number, not "many"'),
        ("server: {max_concurrent_rpcs: true}", "server.max_concurrent_rpcs: must be a whole number, not true"),
        ("server: {max_concurrent_rpcs: 1.5}", "server.max_concurrent_rpcs: must be a whole number, not 1.5"),
        ("server: {max_concurrent_rpcs: 0}", "server.max_concurrent_rpcs: must be 1 or more, not 0"),
        ("server: {drain_seconds: .nan}", "server.drain_seconds: must be a finite number"),
        ("server: {insecure: 1}", "server.insecure: must be true or false, not 1"),
        ("server: 3", "server: must be a mapping of settings, not 3, such as `server: {listen: 127.0.0.1:50051}`"),
        ("server: on", "server: must be a mapping of settings, not true, such as `server: {"),
        ("tenants: {id: a}", "tenants: must be a list, not a mapping, such as `tenants: [{id: kyc}]`"),
        ("tenants: [kyc]", "tenants.0: must be a mapping of settings, such as `tenants: [{id: kyc}]`"),
        (
            "tenants: [{id: a, limits: 3}]",
            "tenants.0.limits: must be a mapping of settings, not 3, such as `limits: {rate: {",
        ),
        ("tenants: [{id: a, face_sets: staff}]", "tenants.0.face_sets: must be a mapping, such as `face_sets: {"),
        ("tenants: [{id: 2024}]", 'tenants.0.id: must be text in quotes, not 2024, such as "2024"'),
        (
            "upstream: {credentials: primary}",
            "upstream.credentials: must be a list, such as `credentials: [{name: primary, api_id_file: /run/secrets/",
        ),
        (
            "upstream: {base_url: 'https://vendor.example/faceset/v2/search_face'}",
            "upstream.base_url: must end before the API's path, which the gateway adds, such as https://cloudapi.",
        ),
        (
            "upstream: {base_url: 'https://vendor.example/faceset/'}",
            "upstream.base_url: must end before the API's path",
        ),
        ("cache: {ttl_seconds: 4000}", "cache.ttl_seconds: must be 3600 or less, not 4000"),
        ("cache: {ttl_seconds: 0}", "cache.ttl_seconds: must be more than 0, not 0"),
        ("cache: {widen: all}", "cache.widen: must be one of 'none', 'max_results', not \"all\""),
        ("upstream: {rate_per_second: 5}", "upstream.rate_per_second: is not supported yet: remove it"),
        ("upstream: {base_url: http://vendor.example}", "upstream.base_url: must be an https:// URL"),
        ("upstream: {base_url: https://user:pw@vendor.example}", "upstream.base_url: must be an https:// URL"),
        ("server: {listen: ':50051'}", "server.listen: must be HOST:PORT"),
        ("server: {listen: '127.0.0.1:70000'}", "server.listen: must be HOST:PORT"),
        ("stores: {quota: redis://h}", "stores.quota: must be memory://, valkey://"),
        ("stores: {quota: 'valkey://:hunter2@h:1'}", "stores.quota: must not hold a password"),
        ("stores: {quota: 'valkey://h:1,i:1/3'}", "stores.quota: a cluster"),
        ("stores: {cache: 'valkey://h'}", "stores.key_file: is required when the cache store is not memory"),
        ("server: {tls: {cert_file: /c}}", "server.tls.key_file: is required beside cert_file"),
        ("server: {tls: {key_file: /c}}", "server.tls.cert_file: is required beside key_file"),
        ("server: {tls: {client_ca_file: /c}}", "server.tls.client_ca_file: needs TLS"),
        ("server: {listen: '0.0.0.0:1'}", "server.listen: 0.0.0.0:1 is reachable by other machines without TLS"),
        ("server: {listen: '[::]:1'}", "server.listen: [::]:1 is reachable by other machines without TLS"),
        ("server: {listen: 'gateway.example:1'}", "server.listen: gateway.example:1 is reachable"),
        ("ops: {listen: '127.0.0.1:50051'}", "ops.listen: 127.0.0.1:50051 is the address of server.listen too"),
        ("auth: {anonymous_tenant: a}", "auth.anonymous_tenant: is not the id of a tenant: add it to tenants"),
        (
            f"server: {{listen: '0.0.0.0:1', {CERTIFICATE}}}\nauth: {{anonymous_tenant: a}}\ntenants: [{{id: a}}]",
            "auth.anonymous_tenant: is allowed only while server.listen is a loopback address",
        ),
        ("tenants: [{id: a}, {id: a}]", 'tenants.1.id: "a" is the id of tenants.0 too'),
        ("tenants: [{id: A}]", "tenants.0.id: must be 1 to 63 of a-z 0-9 _ -"),
        ("tenants: [{}]", "tenants.0.id: is required"),
        ("tenants: [{id: a, face_sets: {UP: x}}]", "tenants.0.face_sets.UP: must be 1 to 63 of a-z"),
        ("tenants: [{id: a, face_sets: {up: 2024}}]", "tenants.0.face_sets.up: must be text in quotes"),
        ("tenants: [{id: a, limits: {rate: {per_second: 1, burst: 0}}}]", "tenants.0.limits.rate.burst: must be 1"),
        ("tenants: [{id: a, principals: [{token_sha256: abc}]}]", "tenants.0.principals.0.token_sha256: must be a SHA"),
        ("tenants: [{id: a, principals: [{jwt_issuer: x}]}]", "tenants.0.principals.0.jwt_subject: is required"),
        (
            f"tenants: [{{id: a, principals: [{{token_sha256: {DIGEST}, spiffe_id: spiffe://a/b}}]}}]",
            "tenants.0.principals.0: must be exactly one of token_sha256, jwt_issuer with jwt_subject, or spiffe_id",
        ),
        ("tenants: [{id: a, principals: [{spiffe_id: spiffe://a/../b}]}]", "tenants.0.principals.0.spiffe_id: must be"),
        (
            "tenants: [{id: a, principals: [{spiffe_id: spiffe://a/%2e/b}]}]",
            "tenants.0.principals.0.spiffe_id: must be",
        ),
        (
            "auth: {spiffe_trust_domain: corp}\ntenants: [{id: a, principals: [{spiffe_id: spiffe://corp2/b}]}]",
            "tenants.0.principals.0.spiffe_id: is outside auth.spiffe_trust_domain (corp)",
        ),
        (
            f"tenants: [{{id: a, principals: [&p {{token_sha256: {DIGEST}}}]}}, {{id: b, principals: [*p]}}]",
            "tenants.1.principals.0: is the principal of tenants.0.principals.0 too",
        ),
        (
            "tenants: [{id: a, principals: [{jwt_issuer: x, jwt_subject: y}]}]",
            "tenants.0.principals.0.jwt_issuer: is not configured: add it to auth.jwt_issuers",
        ),
        (
            "auth: {jwt_issuers: [{issuer: x, audience: y}]}",
            "auth.jwt_issuers.0.jwks_url: exactly one of jwks_url and jwks_file is required",
        ),
        (
            "auth: {jwt_issuers: [{issuer: x, audience: y, jwks_url: 'https://h', jwks_file: /f}]}",
            "auth.jwt_issuers.0.jwks_url: exactly one of jwks_url and jwks_file is required",
        ),
        (
            "auth: {jwt_issuers: [{issuer: x, audience: y, jwks_url: 'http://h'}]}",
            "auth.jwt_issuers.0.jwks_url: must be an https:// URL",
        ),
        ("upstream: {credentials: [{name: a}, {name: a}]}", 'upstream.credentials.1.name: "a" is taken'),
        (
            "upstream: {credentials: [{name: a, api_id_file: /f, api_id_env: E}]}",
            "upstream.credentials.0.api_id_env: is set beside api_id_file",
        ),
        ("telemetry: {trace_sample_ratio: 2}", "telemetry.trace_sample_ratio: must be 1 or less, not 2"),
    ],
)
def test_a_problem_names_key_value_and_remedy(text: str, problem: str) -> None:
    """One mistake is one line that starts with the key's dotted path."""
    found = problems(text)
    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    "text",
    [
        "upstream: {base_url: http://127.0.0.1:8080}",
        "upstream: {base_url: 'http://[::1]:8080/'}",
        "server: {listen: '0.0.0.0:1', insecure: true}",
        f"server: {{listen: '0.0.0.0:1', {CERTIFICATE}}}",
        "server: {listen: '[::1]:0', health_listen: '0.0.0.0:1'}\nops: {listen: '0.0.0.0:0'}",
        "stores: {quota: 'valkey://h', cache: 'valkeys://user@h:1,i:2', key_file: /k}",
        "stores: {quota: 'valkey://[::1]:6379/3'}",
    ],
)
def test_what_is_right_is_let_through(text: str) -> None:
    """The rules refuse nothing that is safe."""
    parse_config(text)


def test_all_problems_come_at_once() -> None:
    """Mistakes of form in one place do not hide those between settings in another."""
    found = problems(
        "server: {listen: '0.0.0.0:1', drain_seconds: long}\ncache: {widen: x}\n"
        "tenants: [{id: a}, {id: a}]\nupstream: {credentials: [{nam: x}]}\n"
    )
    keys = [problem.partition(":")[0] for problem in found]
    assert sorted(keys) == [
        "cache.widen",
        "server.drain_seconds",
        "server.listen",
        "tenants.1.id",
        "upstream.credentials.0.nam",
        "upstream.credentials.0.name",
    ]


def test_a_broken_setting_makes_no_second_problem() -> None:
    """A rule is not asked about a setting that has a problem of its own."""
    assert len(problems("auth: {anonymous_tenant: a}\ntenants: [{id: a, role: king}]")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "upstream: {credentials: [{name: a, api_secret: hunter2}]}",
        "upstream: {credentials: [{name: a, api_secret_env: 'hunter2 !'}]}",
        "upstream: {api_secret: hunter2}",
        "stores: {quota: 'valkey://:hunter2@h:1'}",
        "stores: {key_file: [hunter2]}",
        "tenants: [{id: a, principals: [{token: hunter2}]}]",
        "tenants: [{id: a, principals: [{token_sha256: hunter2}]}]",
        "upstream: {base_url: 'https://u:hunter2@h'}",
        "telemetry: {otlp_endpoint: 'https://u:hunter2@h'}",
        "upstream: {base_url: 'http://h/?key=hunter2'}",
        "stores: {quota: 'redis://h?password=hunter2'}",
        "stores: {quota: hunter2}",
        "server: {listen: hunter2}",
        "server: {max_concurrent_rpcs: facegate_0123456789_hunter2}",
        "auth: {anonymous_tenant: hunter2}",
        "auth: {jwt_issuers: [{issuer: i, audience: a, jwks_url: hunter2}]}",
        "tenants: [{id: a, principals: [{spiffe_id: hunter2}]}]",
        "tenants: [{id: a, principals: [{jwt_issuer: hunter2, jwt_subject: y}]}]",
        "tenants: [{id: a, principals: [{facegate_0123456789abcdefghijklmnopqrstuv_hunter2: x}]}]",
        "tenants: [{id: a, principals: [{role: hunter2}]}]",
        "tenants: [{id: Facegate_hunter2}]",
        "tenants: [{id: a, role: facegate_0123456789_hunter2}]",
        "upstream: {api_secret: *hunter2}",
        "upstream: {api_secret: !hunter2 x}",
        "upstream: {api_secret: &hunter2 x, api_id: &hunter2 y}",
        "a0123456789abcdefghijklmnopqrstuv_hunter2: 1\na0123456789abcdefghijklmnopqrstuv_hunter2: 2",
    ],
)
def test_problems_never_show_secrets(text: str) -> None:
    """The value of a key that may hold a secret, or of an unknown one, is not repeated."""
    assert "hunter2" not in "\n".join(problems(text))
