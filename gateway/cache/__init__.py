"""Answers to identical images: what is kept, for whom, for how long, and what it proves."""
