"""Visible seals: where one stands on a page (`place`), what it says (`lines`), its picture, and all of it settled.

What is settled for a document when it is validated, a `sealdrop.model.Stamp`, stays with it until its seal is checked.
Nothing here is re-exported: a child process that reads a stranger's PDF needs `place`, and no image library.
"""
