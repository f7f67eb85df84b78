"""The PromQL of the alert rules and of the dashboard, and what it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from ops.dashboard.dashboard import dashboard

CHECKOUT = Path(__file__).resolve().parent.parent.parent
RULES = CHECKOUT / "ops" / "prometheus" / "alerts.yml"
RULES_TEST = RULES.with_name("alerts_test.yml")
CONFIG = RULES.with_name("prometheus.yml")
DOCUMENT = CHECKOUT / "docs" / "observability.md"

# What Grafana puts in place of its variables.
_GRAFANA = {"$__rate_interval": "1m", "$model": ".*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One expression, and where it stands."""

    where: str
    expression: str

    def __str__(self) -> str:
        return f"{self.where}: {' '.join(self.expression.split())}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A metric that a query reads, and the labels that it asks for."""

    metric: str
    labels: frozenset[str]


def alerts() -> list[dict[str, Any]]:
    """The alert rules."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_queries() -> list[Query]:
    """One for each alert."""
    return [Query(where=rule["alert"], expression=rule["expr"]) for rule in alerts()]


def dashboard_queries() -> list[Query]:
    """Those of every panel, as Prometheus gets them."""
    return [
        Query(where=panel["title"], expression=_filled_in(target["expr"]))
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    ]


def _filled_in(expression: str) -> str:
    for variable, value in _GRAFANA.items():
        expression = expression.replace(variable, value)
    left = re.findall(r"\$\w+", expression)
    assert not left, f"no value for {left} of {expression}"
    return expression


def selectors(query: Query) -> list[Selector]:
    """Every metric of a query."""
    return [
        Selector(metric=each.name or "", labels=frozenset(matcher.name for matcher in each.matchers.matchers))
        for each in _nodes(promql_parser.parse(query.expression))
        if isinstance(each, promql_parser.VectorSelector)
    ]


def grouping_labels(query: Query) -> set[str]:
    """Every label that a query groups by or matches on."""
    found: set[str] = set()
    for each in _nodes(promql_parser.parse(query.expression)):
        if isinstance(each, promql_parser.AggregateExpr) and each.modifier is not None:
            found |= set(each.modifier.labels)
        if isinstance(each, promql_parser.BinaryExpr) and each.modifier is not None and each.modifier.matching:
            found |= set(each.modifier.matching.labels)
    return found


def _nodes(node: Any) -> Iterator[Any]:
    yield node
    match node:
        case promql_parser.BinaryExpr():
            below = [node.lhs, node.rhs]
        case promql_parser.Call():
            below = list(node.args)
        case promql_parser.AggregateExpr():
            below = [node.expr, *([node.param] if node.param is not None else [])]
        case promql_parser.MatrixSelector():
            below = [node.vector_selector]
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr() | promql_parser.SubqueryExpr():
            below = [node.expr]
        case _:
            below = []
    for each in below:
        yield from _nodes(each)
