"""The command line client and the small client class it is built on."""
