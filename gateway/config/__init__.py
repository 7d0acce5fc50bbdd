"""The gateway's settings: described once, checked whole, frozen.

`loading` is the way in: YAML (`document`) under the environment (`environment`) becomes a `Config` (`schema` and a
file a section), or a `ConfigError` with every problem (`explain`, `rules`, `files`). `docs` writes the reference page.
"""

from gateway.config.loading import config_of, load_config, parse_config
from gateway.config.problems import ConfigError
from gateway.config.schema import Config, source_of, version_of
from gateway.config.tenants import TenantConfig

__all__ = [
    "Config",
    "ConfigError",
    "TenantConfig",
    "config_of",
    "load_config",
    "parse_config",
    "source_of",
    "version_of",
]
