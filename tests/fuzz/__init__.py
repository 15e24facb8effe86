"""Mixed traffic through a federation whose parts fail, for as long as one likes."""
