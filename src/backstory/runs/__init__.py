"""Any long journey as a thing with a state: runs, claims on their work, progress."""
