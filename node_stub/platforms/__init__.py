"""What a node runs sessions on."""
