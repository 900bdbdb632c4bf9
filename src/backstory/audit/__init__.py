"""What happened: audit events and the places they are read from."""
