"""The texts of every kind and language against golden files, and the parts that both languages must have in common.

After a change of texts: GOLDEN_UPDATE=1 make test, then read the difference as a person woken at 3 a.m.
"""

from __future__ import annotations

import os
import re
import string
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from jinja2 import meta, nodes

from alerting import messages
from alerting.messages import context as contexts
from alerting.messages import facts
from alerting.messages.jinja import templates
from alerting.messages.words import MONTHS, NOUNS, WEEKDAYS, WORDS
from alerting.model.incident import SimilarIncident
from alerting.model.verdict import EventKind
from tests import texts
from tests.texts import DROP, context, event, incident, member, metric, moscow, opened, plain, plain_spaces, reader
from tests.texts_of_causes import CAUSES, IOS

GOLDEN = Path(__file__).parent / "golden"
TEXTS = [*texts.TEXTS, *CAUSES]
TEMPLATES = sorted(name.removesuffix(".en.j2") for name in templates.list_templates() if name.endswith(".en.j2"))
OF_EVENTS = ("opened", "platform", "worsened", "joined", "reminder", "resolved", "no_data", "data_back", "corrected", "pieces")
CAUSE = "^(Likely cause|The (drop|rise)|Experiment|Вероятная причина|Упало|Выросло|Группы)"
RULES = {
    "sudden": {
        "en": "Sudden change: unusual for this time of day",
        "ru": "Резкий скачок: для этого времени необычно",
    },
    "sustained": {
        "en": "Level: too far from the usual for this time of day",
        "ru": "Уровень: слишком далёк от обычного для этого времени",
    },
    "level": {
        "en": "Far from the level of the last four weeks",
        "ru": "Далеко от уровня последних четырёх недель",
    },
}


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("rule", ["sudden", "sustained", "level"])
def test_which_rule_fired_is_said_in_words(rule, language):
    fired = event(EventKind.OPENED, replace(DROP, reason=rule))
    told = messages.compose(fired, context(metric(), reader(language))).text.splitlines()
    assert RULES[rule][language] in told
    assert RULES[rule][language] not in opened(language).text


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", TEXTS, ids=lambda make: make.__name__)
def test_golden_text(make, language):
    path, text = GOLDEN / f"{make.__name__}.{language}.txt", make(language).text
    if os.environ.get("GOLDEN_UPDATE"):
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", TEXTS, ids=lambda make: make.__name__)
def test_the_first_line_fits_a_lock_screen(make, language):
    """The bold part has at most 60 characters, and the whole first line at most 90."""
    first = make(language).text.splitlines()[0]
    assert len(plain(first[: first.find("</b>") + 4])) <= 60
    assert len(plain(first)) <= 90


@pytest.mark.parametrize("language", ["ru"])
def test_languages_have_the_same_keys_and_fields(language):
    def names(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    here, english = ({key: names(text) for key, text in WORDS[chosen].items()} for chosen in (language, "en"))
    assert here == english
    assert NOUNS[language].keys() == NOUNS["en"].keys()
    assert len(WEEKDAYS[language]) == 7
    assert len(MONTHS[language]) == 12


def parsed(name: str, language: str) -> nodes.Template:
    source, _, _ = templates.loader.get_source(templates, f"{name}.{language}.j2")
    return templates.parse(source)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_shows_the_same_facts_in_both_languages(name):
    def shown(template):
        names = {node.name for node in template.find_all(nodes.Name)}
        return names, {node.attr for node in template.find_all(nodes.Getattr)}, meta.find_undeclared_variables(template)

    assert shown(parsed(name, "en")) == shown(parsed(name, "ru"))


@pytest.mark.parametrize("name", [*OF_EVENTS, "gap", "footer", "links", "status"])
def test_a_template_of_an_event_shows_nothing_but_facts(name):
    said = contexts.Subject.of(event(EventKind.OPENED, DROP), context(metric(), reader()))
    footer = {"late", "dashboard", "run", "page", "owner", "is_label_wanted", "is_reminder"}
    known = {*facts.event_facts(said), *footer, "say"}
    assert meta.find_undeclared_variables(parsed(name, "en")) <= known


@pytest.mark.parametrize("name", [*OF_EVENTS, "gap", "status", "causes"])
def test_a_template_reads_no_attribute_that_does_not_exist(name):
    classes = [one for module in (contexts, facts) for one in vars(module).values() if is_dataclass(one)]
    past = SimilarIncident(moscow("14:00", -7))
    story = incident(member("likes", gap=True), cause=replace(IOS, new=(IOS.slice,)))
    back = replace(event(EventKind.DATA_BACK, DROP), incident=story)
    said = facts.event_facts(contexts.Subject.of(back, context(metric(), reader(), similar=past)))
    known = {field.name for one in classes for field in fields(one)} | {"last"}  # of a loop
    for part in ("others", "gap", "end", "similar", "cause"):
        known |= {*said[part]}
    known |= {*said["cause"]["new"], *said["cause"]["new"]["shown"][0]}
    macros = {macro.name for pieces in ("pieces", "causes") for macro in parsed(pieces, "en").find_all(nodes.Macro)}
    assert {node.attr for node in parsed(name, "en").find_all(nodes.Getattr)} <= known | macros


def test_the_import_is_light():
    heavy = "{'pandas', 'numpy', 'matplotlib', 'scipy', 'jinja2'}"
    code = f"import sys, alerting.messages; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], cwd=GOLDEN.parent.parent, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", TEXTS, ids=lambda make: make.__name__)
def test_a_text_of_an_incident_has_six_lines_and_fits_under_a_picture(make, language):
    message = make(language)
    if message.metric:
        assert len(message.text.splitlines()) <= 6
        assert len(plain(message.text).encode("utf-16-le")) // 2 <= 1024


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", CAUSES, ids=lambda make: make.__name__)
def test_the_cause_is_among_the_first_lines(make, language):
    lines = plain_spaces(plain(make(language).text)).splitlines()[:4]
    assert any(re.search(CAUSE, line) for line in lines)
