"""`python -m tetrad.entrypoints.main_base …` is `tetrad train …`, under the name that tutorials use."""

import sys

from tetrad_cli.commands.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
