"""What stops a `tetrad data` command and can be repaired by its user."""


class DataCommandError(Exception):
    """The command cannot do its work; the message says what to change."""


class MissingPackageError(DataCommandError):
    """An optional package is not installed."""

    def __init__(self, *, package: str, extra: str) -> None:
        super().__init__(f"needs the package {package}; install it with: pip install 'tetrad-cli[{extra}]'")
        self.package, self.extra = package, extra
