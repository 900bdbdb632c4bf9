"""The command line: `shell` names the commands, `call` is what they have in common."""
