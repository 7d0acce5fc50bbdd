"""Who calls, and what they may do: credentials to principals, permissions, and face-set aliases."""
