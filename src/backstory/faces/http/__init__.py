"""HTTP: the verbs for programs elsewhere, under keys of the business and tokens of sessions."""
