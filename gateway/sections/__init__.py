"""The sections of the settings file that are schemas of their own."""
