"""PDF: what a document is before it is sealed (`inspect`), and what its seal proves (`seal`), judged in a `jail`.

The only home of pypdf and pyHanko in the daemon.
"""
