"""Settings from outside: the TOML file, `--set` and the environment become `mta.model.settings.Settings`."""

from mta.settings_file.load import default_data_dir, load_settings

__all__ = ["default_data_dir", "load_settings"]
