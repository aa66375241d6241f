"""Putting a site back: each part is prepared beside what it replaces, then all are switched."""
