"""The alert rules, held to their own unit tests by promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from tests.system import queries


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed; Debian's package prometheus has it (.ci/prepare)")
    folder = queries.RULES.parent
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_rules_pass_their_unit_tests() -> None:
    ran = promtool("test", "rules", queries.RULES_TEST.name)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_unit_tests_would_see_a_rule_that_fires_at_nothing(tmp_path: Any) -> None:
    text = queries.RULES.read_text("utf-8")
    (tmp_path / "alerts.yml").write_text(text.replace('busy"})) == 0', 'busy"})) == -1'))
    shutil.copy(queries.RULES_TEST, tmp_path)
    ran = promtool("test", "rules", str(tmp_path / queries.RULES_TEST.name))
    assert ran.returncode != 0
    assert "ImagemillQueueWithoutWorker" in ran.stdout + ran.stderr


def test_prometheus_takes_rules_and_configuration() -> None:
    for checked in (("rules", queries.RULES.name), ("config", queries.CONFIG.name)):
        ran = promtool("check", *checked)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_jobs_that_the_rules_name_are_those_of_the_configuration() -> None:
    configured = {each["job_name"] for each in yaml.safe_load(queries.CONFIG.read_text("utf-8"))["scrape_configs"]}
    named = set(re.findall(r'job="([^"]+)"', queries.RULES.read_text("utf-8")))
    assert named == {"api", "worker"}
    assert named <= configured


@pytest.mark.parametrize("rule", queries.alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_says_how_bad_it_is_and_what_to_do_and_has_a_case_that_fires(rule: dict[str, Any]) -> None:
    assert rule["for"]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "action"}
    cases = yaml.safe_load(queries.RULES_TEST.read_text("utf-8"))["tests"]
    expected = [
        sample["labels"]
        for case in cases
        for asked in case["promql_expr_test"]
        for sample in asked.get("exp_samples", [])
    ]
    assert any(f'alertname="{rule["alert"]}"' in labels for labels in expected)
