"""``python -m segstudy`` is the command ``segstudy``."""

from segstudy.cli import main

if __name__ == "__main__":
    main()
