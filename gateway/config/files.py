"""Looks at the files and variables that a configuration names, before anything is started with them.

Says which key, which path and what to do; never what is in a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from gateway.config.schema import Config

KEY_BYTES = 32
MAX_SECRET_BYTES = 4096


def file_problems(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    """A line, which begins with the setting's key, for each file that is missing or unfit, or variable that is not set."""
    yield from _credentials(config, environ)
    yield from _files(config)


def _credentials(config: Config, environ: Mapping[str, str]) -> Iterator[str]:
    if not config.upstream.credentials:
        yield (
            "upstream.credentials: is empty: name a pair of files (api_id_file, api_secret_file) or variables "
            "(api_id_env, api_secret_env)"
        )
    for index, credential in enumerate(config.upstream.credentials):
        path = f"upstream.credentials.{index}"
        for name, file, variable in (
            ("api_id", credential.api_id_file, credential.api_id_env),
            ("api_secret", credential.api_secret_file, credential.api_secret_env),
        ):
            if file is not None:
                yield from _problem(f"{path}.{name}_file", file, _secret)
            elif variable is None:
                yield f"{path}.{name}_file: is required: name a file, or a variable in {name}_env"
            elif not environ.get(variable, "").strip():
                # Not named: whoever wrote the secret itself here would find it in the output of a pipeline.
                yield f"{path}.{name}_env: the environment variable that it names is not set or empty: set it"


def _files(config: Config) -> Iterator[str]:
    stores, tls = config.stores, config.server.tls
    named: list[tuple[str, Path | None, Callable[[Path], str | None]]] = [
        ("stores.key_file", stores.key_file, _sealing_key),
        ("stores.quota_password_file", stores.quota_password_file, _secret),
        ("stores.cache_password_file", stores.cache_password_file, _secret),
        ("stores.ca_file", stores.ca_file, _authorities),
        ("upstream.ca_file", config.upstream.ca_file, _authorities),
        ("upstream.proxy.ca_file", config.upstream.proxy.ca_file, _authorities),
        ("upstream.proxy.credentials_file", config.upstream.proxy.credentials_file, _secret),
        ("server.tls.client_ca_file", tls.client_ca_file, _authorities),
    ]
    for index, issuer in enumerate(config.auth.jwt_issuers):
        named.append((f"auth.jwt_issuers.{index}.jwks_file", issuer.jwks_file, _key_set))
    for key, file, check in named:
        if file is not None:
            yield from _problem(key, file, check)
    if tls.cert_file is not None and tls.key_file is not None:
        unreadable = [
            *_problem(
                "server.tls.cert_file",
                tls.cert_file,
                lambda file: None if _head(file) else "is empty",
            ),
            *_problem(
                "server.tls.key_file",
                tls.key_file,
                lambda file: None if _head(file) else "is empty",
            ),
        ]
        yield from unreadable or _certificate(tls.cert_file, tls.key_file)


def _problem(key: str, file: Path, check: Callable[[Path], str | None]) -> Iterator[str]:
    try:
        fault = check(file)
    except OSError as error:
        fault = f"cannot be read ({error.strerror or 'not a PEM file'}): mend the path or its permissions"
    if fault is not None:
        yield f"{key}: {shown_path(file)} {fault}"


def shown_path(file: Path) -> str:
    """The path, unless nothing on this machine shows that it is one: then it may be a secret in the wrong place."""
    folder = file.parent
    try:
        is_path = file.exists() or (folder.is_dir() and folder not in (Path(), Path("/")))
    except (OSError, ValueError):
        is_path = False
    return str(file) if is_path else "the file that it names"


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MAX_SECRET_BYTES + 1)


def _secret(file: Path) -> str | None:
    content = _head(file)
    if not content.strip():
        return "is empty: put the secret in it"
    return "is too large for a secret: name the right file" if len(content) > MAX_SECRET_BYTES else None


def _sealing_key(file: Path) -> str | None:
    if len(_head(file)) != KEY_BYTES:
        return f"does not hold exactly {KEY_BYTES} bytes: head -c {KEY_BYTES} /dev/urandom > FILE"
    return None


def _key_set(file: Path) -> str | None:
    try:
        keys = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        keys = None
    if not (isinstance(keys, dict) and isinstance(keys.get("keys"), list)):
        return 'is not a JSON Web Key Set: expected {"keys": [...]}'
    return None


def _authorities(file: Path) -> str | None:
    import ssl  # 20 ms that only a gateway with such a file pays

    from gateway.tls import client_context

    _head(file)
    try:
        client_context(file)
    except ssl.SSLError:
        return "holds no certificate: expected PEM"
    return None


def _certificate(cert_file: Path, key_file: Path) -> Iterator[str]:
    import ssl

    try:
        # An encrypted key would otherwise ask for its password on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert_file, key_file, password=lambda: b"")
    except (ssl.SSLError, OSError, ValueError):
        yield f"server.tls.key_file: {key_file} is not the unencrypted PEM key of {cert_file}: name a matching pair"
