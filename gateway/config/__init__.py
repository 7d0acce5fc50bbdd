"""The gateway's settings: described once, checked whole, frozen.

`loading` is the way in: YAML (`document`) under the environment (`environment`) becomes a `Config` (`schema` and a
file a section), or a `ConfigError` with every problem (`explain`, `rules`, `files`, `placing`). `docs` writes the reference page.
"""

from gateway.config.loading import config_of, load_config, parse_config
from gateway.config.problems import ConfigError
from gateway.config.schema import Config, source_of, version_of
from gateway.config.tenants import TenantConfig
from gateway.config.warnings import config_warnings, unused_variables

__all__ = [
    "Config",
    "ConfigError",
    "TenantConfig",
    "config_of",
    "config_warnings",
    "load_config",
    "parse_config",
    "source_of",
    "unused_variables",
    "version_of",
]
