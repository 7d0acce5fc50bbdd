"""The line that a failed call becomes."""

from __future__ import annotations

from gateway.cli.call_failure import CallFailure


def test_no_field_is_named_twice() -> None:
    """Whether a description begins with its field or a field has two violations."""
    failure = CallFailure("INVALID_ARGUMENT", "the request is not valid")
    failure.violations = (
        ("start_time", "start_time must be before end_time, which is now if it is absent"),
        ("image", "must be a JPEG or PNG file"),
        ("image", "must have at least 128 pixels a side"),
        ("image", "must be a JPEG or PNG file"),
        ("page", "page_size is another field"),
        ("", "of no field"),
    )
    assert failure.line() == (
        "INVALID_ARGUMENT: the request is not valid; start_time: must be before end_time, which is now if it is absent; "
        "image: must be a JPEG or PNG file, must have at least 128 pixels a side; page: page_size is another field; "
        "of no field"
    )


def test_when_to_try_again_is_said_in_words() -> None:
    """A quota that is full again at midnight."""
    failure = CallFailure("RESOURCE_EXHAUSTED", "the quota is used up")
    failure.retry_after_seconds = 19_440
    assert failure.line() == "RESOURCE_EXHAUSTED: the quota is used up; try again in 5 h 24 min"
