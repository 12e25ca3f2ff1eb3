"""Telling somebody that something is wrong: by e-mail and by webhook, grouped, and once when it is over."""
