"""`./imagemill dashboard`: the Grafana dashboard as JSON, to be imported."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.dashboard.panel import DATASOURCE, Row

_PANELS = Path(__file__).with_name("panels.toml")
_PAGE_COLUMNS = 24


def dashboard() -> dict[str, Any]:
    """As Grafana imports it (dashboard schema 39); who imports it chooses the Prometheus."""
    return {
        "title": "Imagemill",
        "uid": "imagemill",
        "description": "Queues, throughput, latency, engine, workers and API of one Imagemill. "
        "docs/observability.md explains it.",
        "tags": ["imagemill"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # A cursor shared by all panels.
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_CHOICE_OF_PROMETHEUS, _CHOICE_OF_MODELS]},
        "annotations": {"list": [_FIRING_ALERTS]},
        "panels": [{"id": number, **panel} for number, panel in enumerate(_placed(), start=1)],
        "links": [],
    }


def _placed() -> Iterator[dict[str, Any]]:
    y = 0
    for row in map(Row.model_validate, tomllib.loads(_PANELS.read_text("utf-8"))["row"]):
        place = {"h": 1, "w": _PAGE_COLUMNS, "x": 0, "y": y}
        yield {"type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        yield from _below(row, y + 1)
        a_line = _PAGE_COLUMNS // row.width
        y += 1 + row.height * -(-len(row.panel) // a_line)


def _below(row: Row, y: int) -> Iterator[dict[str, Any]]:
    a_line = _PAGE_COLUMNS // row.width
    for index, panel in enumerate(row.panel):
        place = {"x": index % a_line * row.width, "y": y + index // a_line * row.height}
        yield {**panel.json_of_grafana(), "gridPos": {"h": row.height, "w": row.width, **place}}


_CHOICE_OF_PROMETHEUS = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
    "refresh": 1,
    "regex": "",
    "includeAll": False,
    "multi": False,
}
_MODELS = "label_values(imagemill_queued_jobs, model)"
_CHOICE_OF_MODELS = {
    "name": "model",
    "label": "Model",
    "type": "query",
    "datasource": DATASOURCE,
    "definition": _MODELS,
    "query": {"query": _MODELS, "refId": "model"},
    "refresh": 2,
    "includeAll": True,
    "allValue": ".*",
    "multi": True,
    "current": {"text": "All", "value": "$__all"},
    "sort": 1,
    "hide": 0,
    "regex": "",
}
_FIRING_ALERTS = {
    "name": "Firing alerts",
    "datasource": DATASOURCE,
    "enable": True,
    "iconColor": "red",
    "expr": 'ALERTS{alertname=~"Imagemill.*", alertstate="firing"}',
    "titleFormat": "{{alertname}}",
    "step": "60s",
    "tagKeys": "severity,queue,instance",
}
