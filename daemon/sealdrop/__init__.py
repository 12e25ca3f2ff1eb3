"""sealdrop: a PDF dropped into a folder comes back sealed, archived and on record."""

__version__ = "0.1.0"
