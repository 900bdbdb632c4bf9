"""Named statements, one file a subject; `store.statements` reads them."""
