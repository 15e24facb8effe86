"""The sections of the settings file that are schemas of their own, and the files that they name."""
