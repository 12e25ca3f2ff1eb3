"""Imported last in the fork server: what it has loaded by then is for its children to share, page by page.

A page is shared until somebody writes to it, and a garbage collection writes to every object that it looks at. So all
that is loaded is put out of the collector's sight, once and before the first child.
"""

import gc

gc.collect()
gc.freeze()
