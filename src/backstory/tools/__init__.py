"""What an agent may ask: seven tools, each a function with a typed input and output."""
