"""Where a visible seal stands on a page, and what it says."""
