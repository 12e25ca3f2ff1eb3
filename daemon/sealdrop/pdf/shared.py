"""Imported last in the fork server: what is there by then is for its children to share, page by page.

A page is shared until somebody writes to it, and a garbage collection writes to every object that it looks at. So all
that is there is put out of the collector's sight, once and before the first child.
"""

import gc

from sealdrop.pdf.child import adapter
from sealdrop.pdf.jobs import inspect, verify_seal

for job in (inspect, verify_seal):
    adapter(job)  # made here, and not by each child
gc.collect()
gc.freeze()
