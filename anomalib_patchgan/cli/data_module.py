"""The data part of a command: options as for `train`, which jsonargparse reads, and the data module they make."""

import argparse
import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.errors import ConfigurationError, DataError, PatchGanError, one_line

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule
    from jsonargparse import ArgumentParser

_NO_DATA = "nothing says which data to prepare: give --data CLASS, --data FILE, or --config FILE with a `data` part"


def leave_data_options(parser: argparse.ArgumentParser) -> None:
    """Let a command take `--data`, `--data.OPTION` and `--config`, unread, as `data_options` of its arguments.

    Args:
        parser: Parser of the command.
    """
    # With abbreviations it would take options of a data module for its own.
    parser.allow_abbrev = False
    parser.set_defaults(data_options=())


def make_data_module(arguments: Sequence[str]) -> "AnomalibDataModule":
    """Make a data module as `train` does, without the model.

    Args:
        arguments: `--data`, `--data.OPTION` and `--config`; of a configuration only the data part is read.

    Raises:
        argparse.ArgumentError: The arguments or a configuration file are wrong.
        ConfigurationError: There is no data part, or the data module refuses its arguments.

    Example:
        >>> type(make_data_module(["--data", "PreparedFolder", "--data.root", "slices"])).__name__
        'PreparedFolder'
    """
    parser = _data_parser()
    config = parser.parse_args(list(arguments))
    if config.get("data") is None:
        raise ConfigurationError(_NO_DATA)
    with constructor_errors():
        return parser.instantiate_classes(config)["data"]


@contextlib.contextmanager
def constructor_errors() -> Iterator[None]:
    """Say in one line what a constructor refuses: jsonargparse takes it for a value of the wrong type, and wraps it so.

    Raises:
        ConfigurationError: Instead of the wrapped error.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Does not validate against any of the Union subtypes"):
            raise
        raise ConfigurationError(one_line(error)) from error


def _data_parser() -> "ArgumentParser":
    """Return a parser of the data part of `train`'s arguments."""
    import yaml
    from anomalib.data import AnomalibDataModule
    from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

    class DataParser(ArgumentParser):
        """Reads of a configuration file its data part only."""

        def parse_string(self, cfg_str: str, *args: Any, **kwargs: Any) -> Namespace:  # noqa: ANN401 - jsonargparse's
            # What is no YAML is left to jsonargparse, which says why. Nodes and not values, because jsonargparse
            # reads some values in its own way, such as 1e-3.
            with contextlib.suppress(yaml.YAMLError):
                root = yaml.compose(cfg_str, yaml.SafeLoader)
                if isinstance(root, yaml.MappingNode):
                    root.value = [(key, value) for key, value in root.value if key.value == "data"]
                    cfg_str = yaml.serialize(root)
            return super().parse_string(cfg_str, *args, **kwargs)

    parser = DataParser(exit_on_error=False)
    parser.add_argument("-c", "--config", action=ActionConfigFile)
    parser.add_subclass_arguments(AnomalibDataModule, "data")
    return parser


def set_up(data: Any) -> None:  # noqa: ANN401 - anomalib's data modules
    """Prepare a data module and split its images.

    Raises:
        PatchGanError: It cannot be used.
    """
    try:
        data.prepare_data()
        data.setup()
    except PatchGanError:
        raise
    # anomalib's own data modules, and other people's, raise errors of all kinds.
    except Exception as error:
        msg = f"the data of {type(data).__name__} cannot be used ({type(error).__name__}: {one_line(error)})"
        raise DataError(msg) from error
