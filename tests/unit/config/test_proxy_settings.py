"""The proxy's settings: what they may say, and what is said when they may not."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gateway.config import ConfigError, parse_config
from gateway.config.files import file_problems


def problems_of(**proxy: str) -> str:
    """What is wrong with these settings."""
    with pytest.raises(ConfigError) as caught:
        parse_config(yaml.safe_dump({"upstream": {"proxy": proxy}}))
    return str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://proxy.corp.example:3128", "https://proxy.corp.example:443/", "http://[2001:db8::1]:3128"]
)
def test_a_proxy_is_a_host_and_a_port(url: str) -> None:
    """Over TLS or not."""
    assert parse_config(yaml.safe_dump({"upstream": {"proxy": {"url": url}}})).upstream.proxy.url == url


@pytest.mark.parametrize(
    "url",
    [
        "proxy.corp.example:3128",
        "http://proxy.corp.example",
        "socks5://proxy.corp.example:1080",
        "http://user:hunter2@proxy.corp.example:3128",
        "http://proxy.corp.example:3128/path",
        "http://proxy.corp.example:3128?a=b",
        "http://proxy.corp.example:0",
        "http://proxy.corp.example:70000",
        "http://:3128",
        "http://a b:3128",
        "",
    ],
)
def test_what_is_no_proxy_is_refused(url: str) -> None:
    """With the form that is expected; credentials are never repeated."""
    text = problems_of(url=url)
    assert text.startswith("upstream.proxy.url: must be http://HOST:PORT or https://HOST:PORT")
    assert "hunter2" not in text


def test_what_belongs_to_a_proxy_needs_one() -> None:
    """And authorities need a proxy that shows a certificate."""
    assert (
        problems_of(credentials_file="/a")
        == "upstream.proxy.credentials_file: needs upstream.proxy.url: set both or none"
    )
    assert "needs upstream.proxy.url" in problems_of(ca_file="/a")
    assert "with https://" in problems_of(ca_file="/a", url="http://proxy.corp.example:3128")


def test_its_files_are_looked_at(tmp_path: Path) -> None:
    """Before anything starts with them."""
    (tmp_path / "ca.pem").write_text("no certificate")
    (tmp_path / "login").write_text("")
    proxy = {
        "url": "https://proxy.corp.example:3128",
        "ca_file": str(tmp_path / "ca.pem"),
        "credentials_file": str(tmp_path / "login"),
    }
    config = parse_config(yaml.safe_dump({"upstream": {"proxy": proxy}}))
    found = [problem for problem in file_problems(config, {}) if problem.startswith("upstream.proxy")]
    assert found == [
        f"upstream.proxy.ca_file: {tmp_path / 'ca.pem'} holds no certificate: expected PEM",
        f"upstream.proxy.credentials_file: {tmp_path / 'login'} is empty: put the secret in it",
    ]
