"""What can go wrong with the demo itself."""


class DemoError(Exception):
    """The demo cannot begin, or did not show what it promises."""
