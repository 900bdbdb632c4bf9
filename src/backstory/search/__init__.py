"""Finds messages: by their words, by their meaning, and inside one customer."""
