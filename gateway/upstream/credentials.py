"""The vendor's API id and secret: where they are written, how they are read, which pair is in force.

Reading happens at start and whenever the configuration's watcher calls `CredentialSource.reload`; the client asks for
`current` once a call. Errors name the key and the remedy, never a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.config.files import shown_path
from gateway.files import FileTooLarge, read_file
from gateway.secret import Secret

# Far above any API key; a wrong path (a log, a device) is not read to its end.
MAX_SECRET_BYTES = 4096


class CredentialError(Exception):
    """A credential that cannot be used. The text names the key and the remedy; `file` is the bad one, if it is in one."""

    def __init__(self, text: str, file: Path | None = None) -> None:
        self.file = file
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Credential:
    """A pair of the vendor's. `name` is the operator's word for it, safe for logs."""

    name: str
    api_id: Secret
    api_secret: Secret


@dataclass(frozen=True, slots=True)
class CredentialOrigin:
    """Where a pair is written: for each half either a file or an environment variable."""

    name: str
    api_id_file: Path | None = None
    api_secret_file: Path | None = None
    api_id_env: str | None = None
    api_secret_env: str | None = None

    def read(self, environ: Mapping[str, str]) -> Credential:
        """The pair as it is written now. Raises `CredentialError`."""
        return Credential(
            self.name,
            self._half("api_id", self.api_id_file, self.api_id_env, environ),
            self._half("api_secret", self.api_secret_file, self.api_secret_env, environ),
        )

    def _half(self, half: str, file: Path | None, variable: str | None, environ: Mapping[str, str]) -> Secret:
        key = f"upstream.credentials[{self.name}].{half}"
        if file is not None and variable is not None:
            raise CredentialError(f"{key}_file and {key}_env are both set: keep one of them")
        if file is not None:
            try:
                return _checked(f"{key}_file", str(file), _content(f"{key}_file", file))
            except CredentialError as error:
                raise CredentialError(str(error), file) from None
        if variable is not None:
            value = environ.get(variable)
            if value is None:
                raise CredentialError(
                    # The name stays out: it may be the secret itself, written into the wrong place.
                    f"{key}_env: the environment variable that it names is not set: set it, or use {half}_file"
                )
            return _checked(f"{key}_env", "the environment variable", value.encode("utf-8", "surrogateescape"))
        raise CredentialError(f"{key} is missing: set {half}_file or {half}_env")


class CredentialSource:
    """The pair in force. `reload` swaps it in one step; a pair that cannot be read leaves the last good one."""

    def __init__(self, current: Credential, load: Callable[[], Credential]) -> None:
        self._current = current
        self._load = load

    @classmethod
    def open(cls, origin: CredentialOrigin, environ: Mapping[str, str]) -> CredentialSource:
        """Reads the pair for the first time. Raises `CredentialError`."""
        return cls(origin.read(environ), lambda: origin.read(environ))

    @property
    def current(self) -> Credential:
        """The pair to send with the next call."""
        return self._current

    def reload(self) -> bool:
        """Reads the pair again; true if it changed. Raises `CredentialError`, and then nothing has changed."""
        fresh = self._load()
        changed = fresh != self._current
        self._current = fresh
        return changed


def _content(key: str, file: Path) -> bytes:
    try:
        return read_file(file, MAX_SECRET_BYTES)
    except FileTooLarge:
        raise CredentialError(
            f"{key}: {file} is longer than {MAX_SECRET_BYTES} bytes: it holds something else"
        ) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise CredentialError(
            f"{key}: cannot read {shown_path(file)} ({reason}): create the file and let the gateway's user read it"
        ) from None


def _checked(key: str, where: str, raw: bytes) -> Secret:
    """The value as it can be sent in a header, without the newline that editors and `echo` leave at the end."""
    raw = raw.removesuffix(b"\n").removesuffix(b"\r")
    if not raw:
        raise CredentialError(f"{key}: {where} is empty: write the vendor's value into it")
    if len(raw) > MAX_SECRET_BYTES:
        raise CredentialError(f"{key}: {where} is longer than {MAX_SECRET_BYTES} bytes: it holds something else")
    if not all(0x20 <= byte <= 0x7E for byte in raw):
        raise CredentialError(
            f"{key}: {where} holds characters that an HTTP header cannot carry: write the value alone, in ASCII, on one line"
        )
    if raw != raw.strip():
        raise CredentialError(f"{key}: {where} begins or ends with a space: remove it")
    return Secret(raw.decode("ascii"))
