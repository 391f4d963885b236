"""The only reader of `pulumi.Config`: settings checked, the one secret apart."""

from dataclasses import dataclass
from pathlib import Path

import pulumi
from pulumi.runtime import config as engine_config

from components.errors import BadInput
from components.manifests import extra
from components.manifests.credentials import SANDBOX_API_KEY
from components.manifests.naming import Manifest
from components.settings import BadSettings, Settings
from components.settings.warnings import warnings
from components.stack_values import API_KEY, ROOT, StackValues, check_stack_file


@dataclass(frozen=True, slots=True)
class StackConfig:
    """What a program is told about its stack."""

    values: StackValues
    folder: Path
    """The stack file's."""
    settings: Settings
    extra_manifests: list[Manifest]
    """Of the stack's own files, checked."""
    api_key: pulumi.Output[str] | None
    """Set unless the settings name an existing Secret."""


def read() -> StackConfig:
    """The running stack's configuration.

    Raises:
        pulumi.RunError: every mistake at once, each with its path; Pulumi prints it without a traceback.
    """
    # All keys, not only the known ones: pulumi.Config can only be asked for a key by name.
    given = {**engine_config.get_config_env(), **engine_config.CONFIG.get()}
    secret = frozenset(key for key in given if pulumi.runtime.is_config_secret(key))
    values = StackValues(pulumi.get_project(), pulumi.get_stack(), given, secret)
    folder = Path(pulumi.get_root_directory() or ROOT)  # the engine tells none where it runs an inline program
    try:
        stack_file = Path.cwd() / f"Pulumi.{values.stack}.yaml"
        if stack_file.is_file():  # elsewhere where the engine was given --config-file
            check_stack_file(stack_file, values.project)
        settings = values.settings()
        extras = [found.manifest for found in extra.load(settings, folder)]
    except (BadInput, BadSettings) as error:
        raise pulumi.RunError(str(error)) from None
    for doubt in warnings(settings):
        pulumi.log.warn(str(doubt))
    return StackConfig(values, folder, settings, extras, _api_key(settings))


def _api_key(settings: Settings) -> pulumi.Output[str] | None:
    if settings.credentials.existing_secret:
        return None
    if pulumi.Config().get(API_KEY):
        return pulumi.Config().require_secret(API_KEY)
    if settings.sandbox.enabled:
        return pulumi.Output.from_input(SANDBOX_API_KEY)
    raise pulumi.RunError(
        f"purpleflea.{API_KEY}: is required: `pulumi config set --secret {API_KEY}`, "
        "or name a Secret that exists in purpleflea.credentials.existingSecret"
    )
