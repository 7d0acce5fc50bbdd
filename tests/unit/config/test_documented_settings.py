"""The configuration as documented: it loads, and means what it says."""

from __future__ import annotations

import time

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from gateway.config import ConfigError, load_config, parse_config
from gateway.config.docs import json_schema
from gateway.model import Limits, RateLimit, Role, Tenant, Window

TOKEN_SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
SAMPLE = f"""
server:
  listen: 127.0.0.1:50051
  insecure: false
  tls: {{cert_file: , key_file: , client_ca_file: }}
  reflection: true
  health_listen:
  max_concurrent_rpcs: 256
  max_body_bytes_in_flight:
  default_deadline_seconds: 15
  lame_duck_seconds: 0
  drain_seconds: 25
ops: {{listen: 127.0.0.1:9464}}
upstream:
  base_url: https://cloudapi.peru.accuauth.com
  credentials:
    - {{name: primary, api_id_file: , api_secret_file: }}
  timeout_seconds: 10
  max_connections: 64
  rate_per_second:
  ca_file:
stores:
  quota: memory://
  cache: memory://
  key_file:
quota: {{on_store_failure: share, expected_replicas: 1}}
cache: {{ttl_seconds: 300, no_match_ttl_seconds: 60, max_bytes: 67108864, widen: none}}
auth:
  anonymous_tenant:
  jwt_issuers: [{{issuer: https://kubernetes.default.svc, audience: facegate, jwks_url: , jwks_file: /keys.json}}]
  spiffe_trust_domain:
tenants:
  - id: kyc
    role: caller
    principals:
      - {{token_sha256: {TOKEN_SHA256}}}
      - {{jwt_issuer: https://kubernetes.default.svc, jwt_subject: "system:serviceaccount:kyc:api"}}
      - {{spiffe_id: spiffe://corp.example/ns/kyc/sa/api}}
    face_sets: {{employees: employees-prod, visitors: visitors}}
    limits:
      rate: {{per_second: 50, burst: 100}}
      concurrency: 32
      upstream_calls: {{per_minute: 600, per_day: 10000, per_month: 200000}}
telemetry: {{log_format: json, otlp_endpoint: , trace_sample_ratio: 0.1}}
"""


def test_the_documented_sample_loads() -> None:
    """Every documented key is known, and a blank one means its default."""
    config = parse_config(SAMPLE)
    assert config.server.tls.enabled is False
    assert config.upstream.rate_per_second is None
    assert config.server.health_listen is None
    assert config.upstream.credentials[0].name == "primary"
    assert config.auth.jwt_issuers[0].jwks_url is None
    assert config.cache.ttl_seconds == 300


def test_the_documented_sample_fits_the_json_schema() -> None:
    """The published schema takes what the gateway takes, blanks included, and refuses an unknown key."""
    jsonschema.validate(yaml.safe_load(SAMPLE), json_schema())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"server": {"listn": "x"}}, json_schema())


def test_defaults_are_the_documented_ones() -> None:
    """An empty file is the sample without its tenants, credentials and issuers."""
    sample = yaml.safe_load(SAMPLE)
    del sample["tenants"], sample["upstream"]["credentials"], sample["auth"]["jwt_issuers"]
    assert parse_config("") == parse_config(yaml.safe_dump(sample))


def test_blank_entries_of_a_list_are_left_out() -> None:
    """An entry of blanks alone, as in the documented sample, is no entry."""
    config = parse_config("auth: {jwt_issuers: [{issuer: , audience: , jwks_url: , jwks_file: }]}")
    assert config.auth.jwt_issuers == ()


def test_a_tenant_becomes_one_of_the_domain() -> None:
    """Limits keep their figures; windows that are not set are unlimited."""
    assert parse_config(SAMPLE).tenants[0].to_tenant() == Tenant(
        id="kyc",
        role=Role.CALLER,
        face_sets={"employees": "employees-prod", "visitors": "visitors"},
        limits=Limits(
            rate=RateLimit(per_second=50, burst=100),
            concurrency=32,
            upstream_calls={Window.MINUTE: 600, Window.DAY: 10000, Window.MONTH: 200000},
        ),
    )


@pytest.mark.parametrize(("per_second", "burst"), [(0.2, 1), (1, 1), (7.5, 8)])
def test_burst_follows_the_rate(per_second: float, burst: int) -> None:
    """Without a burst, one second's worth may come at once, and never less than one call."""
    config = parse_config(f"tenants: [{{id: a, limits: {{rate: {{per_second: {per_second}}}}}}}]")
    limits = config.tenants[0].to_tenant().limits
    assert limits.rate == RateLimit(per_second, burst)


def test_a_short_ttl_shortens_that_of_empty_answers() -> None:
    """Setting `ttl_seconds` below the other's default is no contradiction; saying both is."""
    assert parse_config("cache: {ttl_seconds: 30}").cache.no_match_ttl_seconds == 30
    with pytest.raises(ConfigError, match=r"cache\.no_match_ttl_seconds: must not be above"):
        parse_config("cache: {ttl_seconds: 30, no_match_ttl_seconds: 60}")


def test_the_version_tells_configurations_apart() -> None:
    """Equal configurations have one version, however they are written; a change of any value is another."""
    version = parse_config("server: {drain_seconds: 25}").version
    assert version == parse_config("").version
    assert version != parse_config("server: {drain_seconds: 26}").version
    assert version == parse_config("", {"FACEGATE_SERVER__DRAIN_SECONDS": "25"}).version
    assert len(version) == 12


def test_the_configuration_is_frozen() -> None:
    """Nobody changes settings that others have read."""
    config = parse_config(SAMPLE)
    with pytest.raises(ValidationError):
        config.server.insecure = True


def test_the_printed_configuration_is_discreet() -> None:
    """Printing it shows neither a token's digest nor the upstream's names of face sets."""
    printed = repr(parse_config(SAMPLE)) + str(parse_config(SAMPLE))
    assert TOKEN_SHA256 not in printed
    assert "employees-prod" not in printed


def test_loading_is_fast() -> None:
    """The sample is loaded in well under 50 ms, so that re-reading it does not stall calls."""
    parse_config(SAMPLE)

    def measured() -> float:
        start = time.perf_counter()
        parse_config(SAMPLE)
        return time.perf_counter() - start

    assert min(measured() for _ in range(5)) < 0.05


def test_no_credentials_can_be_parsed_but_not_served() -> None:
    """What a configuration lacks to run is said by the check, with the remedy."""
    parse_config("")
    with pytest.raises(ConfigError) as caught:
        load_config(None, {})
    assert caught.value.problems[0].startswith("upstream.credentials: is empty: name a pair of files")
