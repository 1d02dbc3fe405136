"""anomalib's command line, corrected where it loses a seed, a configuration or an exit code."""

import os
import secrets
from pathlib import Path
from typing import Any

from anomalib.cli.cli import AnomalibCLI
from anomalib.deploy import CompressionType
from anomalib.engine import Engine
from jsonargparse import ArgumentParser
from lightning.pytorch import seed_everything
from lightning.pytorch.cli import SaveConfigCallback
from torch.utils.data import DataLoader

from anomalib_patchgan.cli.data_module import constructor_errors
from anomalib_patchgan.data.prediction_images import PredictionImages
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.run_checks import check_checkpoint_file, check_monitors, check_trainer, checkpoint_must_fit
from anomalib_patchgan.version import ONNX_OPSET

TRAINING = {"fit", "train"}
# Tells the processes that lightning starts for DDP which checkpoint the first one was given.
CHECKPOINT_VARIABLE = "ANOMALIB_PATCHGAN_CKPT_PATH"


class PatchGanCLI(AnomalibCLI):
    """anomalib's command line with seeding that works and errors that end the process.

    Args:
        args: Command-line arguments without the program's name.
        run: Run the subcommand, not only parse its arguments and make its objects.

    Raises:
        argparse.ArgumentError: If the arguments or a configuration file are wrong.
        ConfigurationError: If they ask for something that cannot work.

    Example:
        >>> from anomalib_patchgan.cli.anomalib import PatchGanCLI
        >>> cli = PatchGanCLI(["fit", "--model", "PatchGan", "--seed_everything", "3"], run=False)
        >>> type(cli.model).__name__
        'PatchGan'
    """

    @staticmethod
    def init_parser(**kwargs: Any) -> ArgumentParser:  # noqa: ANN401 - forwarded to jsonargparse
        """Make a parser that raises its errors instead of printing them over many lines."""
        return AnomalibCLI.init_parser(**{"exit_on_error": False, **kwargs})

    @staticmethod
    def _add_trainer_arguments_to_parser(
        parser: ArgumentParser,
        add_optimizer: bool = False,  # noqa: ARG004 - anomalib's signature
        add_scheduler: bool = False,  # noqa: ARG004
    ) -> None:
        """Let every subcommand read the config.yaml of a training, which names an optimizer."""
        AnomalibCLI._add_trainer_arguments_to_parser(parser, add_optimizer=True, add_scheduler=True)  # noqa: SLF001

    def add_export_arguments(self, parser: ArgumentParser) -> None:
        """Add the options of `export`, with the ONNX version that torch really writes."""
        super().add_export_arguments(parser)
        # anomalib 2.7 asks for 14, which torch's exporter cannot write: it logs a traceback and stays at its own.
        parser.set_defaults({"onnx_kwargs": {"opset_version": ONNX_OPSET}})

    def before_instantiate_classes(self) -> None:
        """Refuse options that anomalib accepts but cannot use."""
        super().before_instantiate_classes()
        for option in ("optimizer", "lr_scheduler"):
            # anomalib 2.7: `fit` crashes on them and `train` ignores them.
            if self._get(self.config, option) is not None:
                msg = f"--{option} has no effect in anomalib; set the learning rate under model.init_args instead."
                raise ConfigurationError(msg)
        self._check_checkpoint()

    def instantiate_classes(self) -> None:
        """Seed, which anomalib 2.7 parses but never does, and then make model, data and engine."""
        self._seed()
        with constructor_errors():
            super().instantiate_classes()

    def instantiate_engine(self) -> None:
        """Make the engine, and keep what it writes beside a training from replacing the training's files."""
        trainer = self._get(self.config_init, "trainer")
        callbacks = trainer["callbacks"]
        trainer["callbacks"] = callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []
        super().instantiate_engine()
        if os.environ.get("LOCAL_RANK", "0") != "0":
            _share_results_folder(self.engine)
        if self.subcommand not in TRAINING:
            # anomalib lets `test` and `predict` write their config.yaml over that of the training in `latest`.
            for callback in trainer["callbacks"]:
                if isinstance(callback, SaveConfigCallback):
                    callback.config_filename = f"config-{self.subcommand}.yaml"

    def _check_checkpoint(self) -> None:
        """Find out that a checkpoint is missing or cut off now, not after the data have been prepared."""
        checkpoint = self._get(self.config, "ckpt_path")
        if not checkpoint:
            os.environ.pop(CHECKPOINT_VARIABLE, None)
            return
        # anomalib takes everything for a path, lightning's words such as `best` and URLs, too.
        path = Path(checkpoint).resolve()
        if os.environ.get("LOCAL_RANK", "0") != "0":
            # `latest` leads somewhere else since the first process has made the folder of this run.
            path = Path(os.environ.get(CHECKPOINT_VARIABLE, path))
        check_checkpoint_file(path)
        os.environ[CHECKPOINT_VARIABLE] = self.config[str(self.subcommand)]["ckpt_path"] = str(path)

    def _seed(self) -> None:
        """Seed Python, NumPy, torch and the data-loading processes."""
        seed = self._get(self.config, "seed_everything", default=False)
        if seed is False:
            return
        if seed is True:
            # Processes that lightning starts for DDP get the seed of the first one in this variable.
            seed = int(os.environ.get("PL_GLOBAL_SEED", secrets.randbelow(2**32)))
        # Kept in the configuration, so that config.yaml of the run repeats the run.
        self.config[str(self.subcommand)]["seed_everything"] = seed_everything(seed, workers=True)

    def _run_subcommand(self) -> None:
        """Run the subcommand, turning failures that anomalib hides or leaves unexplained into errors."""
        if self.subcommand != "install":
            self._check_run()
        with checkpoint_must_fit(self._get(self.config, "ckpt_path")):
            if self.subcommand == "train" and self._get(self.config, "ckpt_path"):
                self._resume()
            else:
                super()._run_subcommand()

    def _check_run(self) -> None:
        """Refuse what cannot work, the images of `predict` too, before anomalib makes a results folder."""
        compression = self._get(self.config, "compression_type")
        needs_images = self.subcommand != "export" or compression in {
            CompressionType.INT8_PTQ,
            CompressionType.INT8_ACQ,
        }
        if needs_images and self.datamodule is None:
            msg = f"{self.subcommand} needs images for this: name a data module and its folder with --data."
            raise ConfigurationError(msg)
        if isinstance(self.datamodule, (str, Path)):
            images = PredictionImages(self.datamodule)
            self.datamodule = DataLoader(images, collate_fn=images.collate_fn)
        trainer = self._get(self.config_init, "trainer")
        check_trainer(trainer, self.model)
        if self.subcommand in TRAINING:
            check_monitors(trainer["callbacks"], self.model)

    def _resume(self) -> None:
        """Go on with a training, and test the weights that it ends with.

        anomalib 2.7's `Engine.train` gives the checkpoint to the test, too, which then measures the weights that the
        training began with (open-edge-platform/anomalib#1558).
        """
        arguments = self._prepare_subcommand_kwargs("train")
        self.engine.fit(**arguments)
        self.engine.trainer.test(self.model, datamodule=arguments.get("datamodule"))


def _share_results_folder(engine: Engine) -> None:
    """Let a further DDP process write to the folder that the first one has made.

    anomalib 2.7 makes a new version folder in every process, so `latest` would point to one without a checkpoint.
    """
    setup_workspace = engine._setup_workspace  # noqa: SLF001 - there is no public hook

    def setup_shared_workspace(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        setup_workspace(*args, **{**kwargs, "versioned_dir": False})

    engine._setup_workspace = setup_shared_workspace  # type: ignore[method-assign]  # noqa: SLF001
