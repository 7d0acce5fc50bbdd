"""The vendor's face search: the interface to it, and the HTTP client behind it."""
