"""The type of the vendor's secrets. It lives in `config`, since the passwords of stores are of it too."""

from gateway.config.secret import REDACTED, Secret

__all__ = ["REDACTED", "Secret"]
