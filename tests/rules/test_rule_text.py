"""Rule sets as English and as JSON: read back, they answer as the rules do."""

import json
from dataclasses import replace

import jsonschema
import pytest
from random_rules import random_rule_set

from engine.errors import ArtifactError
from rules.exports.from_text import from_text
from rules.exports.to_text import to_text
from rules.ruleset import RuleSet
from rules.schema import SCHEMA


@pytest.mark.parametrize("seed", range(80))
def test_english_is_read_back(seed):
    engine = random_rule_set(seed)
    in_order = tuple(rule for stage in ("before", "after", "model") for rule in engine.of_stage(stage))
    read = from_text(to_text(engine), engine.numeric_columns, engine.categorical_columns)
    assert read == replace(engine, rules=in_order)


@pytest.mark.parametrize("seed", range(80))
def test_json_is_read_back(seed):
    engine = random_rule_set(seed)
    written = json.loads(json.dumps(engine.to_json()))
    jsonschema.validate(written, SCHEMA)
    assert RuleSet.from_json(written) == engine


def test_the_schema_is_a_schema_and_names_places():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    written = random_rule_set(2, n_rules=3).to_json()
    written["rules"][1]["if"] = [{"column": "age", "<": 3, "<=": 4}, {"column": "age"}]
    written["polcy"] = "first"
    with pytest.raises(ArtifactError) as caught:
        RuleSet.from_json(written)
    message = str(caught.value)
    assert "The rule set.rules[1].if[0]" in message
    assert "The rule set.rules[1].if[1]" in message
    assert "polcy" in message


def test_a_line_that_is_no_sentence_of_ours_is_refused():
    with pytest.raises(ArtifactError, match="This is no line of a rule set"):
        from_text("Do what you like.\n\nAlways.", (), ())
