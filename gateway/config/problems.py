"""What is wrong with a configuration: the exception that carries every problem at once."""

from __future__ import annotations

MAX_SHOWN_KEY = 32


class ConfigError(Exception):
    """A configuration that the gateway refuses.

    `problems` holds one line each: the key's dotted path, what is wrong, and what to do. Never a secret.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = tuple(_one_line(problem) for problem in problems)
        super().__init__("\n".join(self.problems))


def _one_line(text: str) -> str:
    """`text` with what could break or colour a line escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shown(text: str) -> str:
    """`text` on one line, escaped and cut to 60 characters."""
    line = ascii(text) if not text.isprintable() else f'"{text}"'
    return line if len(line) <= 60 else f"{line[:57]}..."


def shown_key(text: str) -> str:
    """A key as `shown`, unless it is longer than any setting's name: then it may be a secret in the wrong place."""
    return shown(text) if len(text) <= MAX_SHOWN_KEY else f"of {len(text)} characters"
