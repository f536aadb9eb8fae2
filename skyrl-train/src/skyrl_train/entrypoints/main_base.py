"""`python -m skyrl_train.entrypoints.main_base …` is `tetrad train …`."""

import sys

from tetrad_cli.commands.train import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
