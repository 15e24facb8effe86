"""What a request is checked for, component by component; each check also fills in the defaults."""
