"""Remember: what may be meant from before, what was confirmed, and what goes into a prompt."""
