"""The settings as a JSON Schema, for editors and Helm: it takes what the settings take."""

import json

import jsonschema_rs
import pytest
from hypothesis import given

from components.settings import Settings
from tests.components import stacks

SCHEMA = Settings.model_json_schema(by_alias=True)
VALIDATOR = jsonschema_rs.validator_for(SCHEMA)


def test_defaults_are_right_and_complete():
    defaults = Settings().model_dump(mode="json", by_alias=True)
    VALIDATOR.validate(defaults)
    assert Settings.parse(defaults) == Settings()


@given(stacks.mappings())
def test_what_the_settings_take_the_schema_takes(mapping):
    VALIDATOR.validate(json.loads(json.dumps(mapping)))


@pytest.mark.parametrize(
    "mapping",
    [
        {"unknown": 1},
        {"hpa": {"minReplicas": "many"}},
        {"hpa": {"engine": "magic"}},
        {"escrow": {"defaultBudgetUsdc": "0.1234567"}},
        {"payroll": {"schedule": "hourly"}},
        {"images": {"runtime": "python"}},
        {"services": {"escrowUrl": "escrow.example"}},
        {"worker": {"resources": {"requests": {"cpu": "64MB", "memory": "1"}, "limits": {"cpu": "1", "memory": "1"}}}},
    ],
)
def test_what_a_pattern_can_tell_the_schema_refuses(mapping):
    assert not VALIDATOR.is_valid(mapping)


def test_every_key_has_its_prose():
    models = [SCHEMA, *SCHEMA["$defs"].values()]
    fields = [(key, part) for model in models for key, part in model.get("properties", {}).items()]
    # A section's own text serves for the key that holds it.
    assert [key for key, part in fields if not part.get("description") and "$ref" not in part] == []
