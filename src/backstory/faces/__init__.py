"""Who is asking: each face turns one kind of request into calls of the layers below."""
