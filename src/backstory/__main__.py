"""The command `backstory`, also as `python -m backstory`."""


def main() -> None:
    """Run the command line and exit with its code."""
    from backstory.faces.cli.commands import shell  # noqa: PLC0415 - a worker process needs none of it

    shell(prog_name="backstory")


if __name__ == "__main__":
    main()
