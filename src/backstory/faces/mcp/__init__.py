"""The Model Context Protocol: what a session offers, over stdio and streamable HTTP."""
