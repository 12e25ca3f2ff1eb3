"""``python -m sealdrop``."""

from sealdrop.cli import main

if __name__ == "__main__":
    main()
