"""The files and variables that a configuration names are looked at before anything starts with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gateway.config import ConfigError, load_config, parse_config
from gateway.config.files import file_problems
from tests.support.pki import Authority


def checked(settings: dict[str, object], environ: dict[str, str] | None = None) -> tuple[str, ...]:
    """The problems that the check finds besides credentials, which are good."""
    environ = {"ID": "id", "SECRET": "secret", **(environ or {})}
    upstream = {"credentials": [{"name": "a", "api_id_env": "ID", "api_secret_env": "SECRET"}]}
    config = parse_config(yaml.safe_dump({"upstream": upstream, **settings}))
    return tuple(file_problems(config, environ))


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def test_missing_secrets_are_named(tmp_path: Path) -> None:
    """A missing file, an empty one and an unset variable are a line each, with the key and the remedy."""
    missing, empty = str(tmp_path / "missing"), written(tmp_path / "empty", b" \n")
    upstream = {
        "credentials": [
            {"name": "a", "api_id_file": missing, "api_secret_file": empty},
            {"name": "b", "api_id_env": "NOT_SET", "api_secret_env": "BLANK"},
            {"name": "c"},
        ]
    }
    remedy = "mend the path or its permissions"
    found = checked({"upstream": upstream}, {"BLANK": " "})
    assert found == (
        f"upstream.credentials.0.api_id_file: {missing} cannot be read (No such file or directory): {remedy}",
        f"upstream.credentials.0.api_secret_file: {empty} is empty: put the secret in it",
        "upstream.credentials.1.api_id_env: the environment variable that it names is not set or empty: set it",
        "upstream.credentials.1.api_secret_env: the environment variable that it names is not set or empty: set it",
        "upstream.credentials.2.api_id_file: is required: name a file, or a variable in api_id_env",
        "upstream.credentials.2.api_secret_file: is required: name a file, or a variable in api_secret_env",
    )


@pytest.mark.parametrize(("size", "good"), [(31, False), (32, True), (33, False)])
def test_the_sealing_key_has_32_bytes(tmp_path: Path, size: int, *, good: bool) -> None:
    """A key of another size, such as one with a newline, is refused."""
    key = written(tmp_path / "key", b"k" * size)
    found = checked({"stores": {"cache": "valkey://h", "key_file": key}})
    assert (found == ()) is good


def test_tls_material_is_tried(tmp_path: Path) -> None:
    """A pair that TLS would refuse, or authorities that hold no certificate, are found before the start."""
    authority = Authority()
    one, other = authority.server(), authority.server()
    cert, key = written(tmp_path / "cert", one.certificate), written(tmp_path / "key", one.key)
    wrong, junk = written(tmp_path / "wrong", other.key), written(tmp_path / "junk", b"hunter2")
    ca = written(tmp_path / "ca", authority.pem)
    assert checked({"server": {"tls": {"cert_file": cert, "key_file": key, "client_ca_file": ca}}}) == ()
    [mismatch] = checked({"server": {"tls": {"cert_file": cert, "key_file": wrong}}})
    assert mismatch.startswith(f"server.tls.key_file: {wrong} is not the unencrypted PEM key of {cert}")
    [authorities] = checked({"server": {"tls": {"cert_file": cert, "key_file": key, "client_ca_file": junk}}})
    assert authorities == f"server.tls.client_ca_file: {junk} holds no certificate: expected PEM"
    missing = str(tmp_path / "missing")
    assert len(checked({"server": {"tls": {"cert_file": missing, "key_file": missing}}})) == 2


def test_a_key_set_is_read(tmp_path: Path) -> None:
    """A file of keys must be a JSON Web Key Set."""
    good, bad = written(tmp_path / "good", b'{"keys": []}'), written(tmp_path / "bad", b"[" * 100_000)
    issuer = {"issuer": "i", "audience": "a"}
    assert checked({"auth": {"jwt_issuers": [{**issuer, "jwks_file": good}]}}) == ()
    [found] = checked({"auth": {"jwt_issuers": [{**issuer, "jwks_file": bad}]}})
    assert found.startswith(f"auth.jwt_issuers.0.jwks_file: {bad} is not a JSON Web Key Set")


def test_loading_includes_the_check(tmp_path: Path) -> None:
    """What `serve` starts with has been checked; the file itself is named when it cannot be read."""
    file = tmp_path / "facegate.yaml"
    with pytest.raises(ConfigError, match=r"facegate\.yaml: cannot be read"):
        load_config(file, {})
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        load_config(file, {})
    file.write_text("server: {drain_seconds: 1}")
    with pytest.raises(ConfigError, match=r"upstream\.credentials: is empty"):
        load_config(file, {})
    assert load_config(file, {}, check=False).server.drain_seconds == 1


def test_files_are_looked_at_beside_other_problems(tmp_path: Path) -> None:
    """One look at the list mends it all; what is broken itself is not also called missing."""
    file = tmp_path / "facegate.yaml"
    file.write_text("cache: {ttl: 1}\nupstream: {ca_file: /nowhere/ca.pem, credentials: [{name: A!}]}")
    with pytest.raises(ConfigError) as caught:
        load_config(file, {})
    keys = [problem.removeprefix(f"{file}:").split(":")[1].strip() for problem in caught.value.problems]
    assert sorted(keys) == ["cache.ttl", "upstream.ca_file", "upstream.credentials.0.name"]


SECRET = "AKIA7EXAMPLEhunter2"


@pytest.mark.parametrize("written_as", [SECRET, f"{SECRET}/x+y==", f"/{SECRET}", "hunter2" * 60])
def test_a_secret_in_place_of_a_name_is_never_shown(written_as: str) -> None:
    """Of a file or of a variable: the key is enough to find it, and pipelines keep what is printed."""
    found = checked(
        {
            "upstream": {
                "credentials": [
                    {"name": "a", "api_id_env": SECRET, "api_secret_env": SECRET},
                    {"name": "b", "api_id_file": written_as, "api_secret_file": written_as},
                ]
            },
            "stores": {"cache": "valkey://h", "key_file": written_as, "quota_password_file": written_as},
            "server": {"tls": {"cert_file": written_as, "key_file": written_as}},
        }
    )
    assert len(found) == 8
    assert "hunter2" not in "".join(found)


def test_a_file_that_may_be_there_is_named(tmp_path: Path) -> None:
    """Its folder is, so the text is a path, which an operator wants to see."""
    found = checked({"stores": {"quota_password_file": str(tmp_path / "missing")}})
    assert found[0].startswith(f"stores.quota_password_file: {tmp_path}/missing cannot be read")
