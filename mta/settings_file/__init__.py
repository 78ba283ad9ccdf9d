"""Settings from outside: the TOML file, `--set` and the environment become `mta.model.settings.Settings`."""

from mta.settings_file.load import load_settings

__all__ = ["load_settings"]
