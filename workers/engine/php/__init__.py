"""Reads settings out of PHP files without running PHP: what is not understood is said, not guessed.

`tokens` and `literals` cut the text up, `expressions` and `statements` build the tree of `syntax`,
`interpreter` walks it. It is an abstract interpreter: an expression that it cannot know becomes
`Unknown` with its reason, a branch on an unknown condition is walked both ways and what differs is
unknown afterwards, and what was only assumed (an environment variable that is not set here, a call
that cannot be followed) is noted on every value that hangs on it.
"""
