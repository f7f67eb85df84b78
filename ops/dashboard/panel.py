"""What `panels.toml` says of a panel, and the JSON that Grafana reads of it."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

_REF_IDS = "ABCDEFGH"
_BASE = "base"


class Panel(BaseModel):
    """
    Lines over time, or one figure where it has colors.

    Attributes:
        about: Shown where a person points at its title.
        lines: PromQL, by what the legend calls it.
        unit: One of Grafana's.
        colors: From which value on the figure has which; "base" below the first.
        is_stacked: Its lines are parts of a whole.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    about: str
    lines: Annotated[dict[str, str], Field(min_length=1, max_length=len(_REF_IDS))]
    unit: str = "short"
    colors: dict[str, str] | None = None
    is_stacked: bool = False

    def json_of_grafana(self) -> dict[str, Any]:
        """All but its number and its place."""
        return {
            "title": self.title,
            "description": self.about,
            "datasource": DATASOURCE,
            "targets": [
                {
                    "datasource": DATASOURCE,
                    "expr": query,
                    "legendFormat": legend,
                    "refId": ref_id,
                    "editorMode": "code",
                    "range": True,
                }
                for ref_id, (legend, query) in zip(_REF_IDS, self.lines.items(), strict=False)
            ],
            **(_over_time(self) if self.colors is None else _figure(self.unit, self.colors)),
        }


class Row(BaseModel):
    """
    Panels under one heading, left to right.

    Attributes:
        width: Of each, in columns; the page has 24.
        height: Of each, in Grafana's units of 30 pixels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    width: Annotated[int, Field(ge=1, le=24)] = 8
    height: Annotated[int, Field(ge=1)] = 8
    panel: tuple[Panel, ...]


def _over_time(panel: Panel) -> dict[str, Any]:
    style = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 25 if panel.is_stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.is_stacked else "none", "group": "A"},
    }
    return {
        "type": "timeseries",
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": style}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _figure(unit: str, colors: dict[str, str]) -> dict[str, Any]:
    steps = [{"color": color, "value": None if at == _BASE else float(at)} for at, color in colors.items()]
    style = {"thresholds": {"mode": "absolute", "steps": steps}, "color": {"mode": "thresholds"}}
    return {
        "type": "stat",
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, **style}, "overrides": []},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "area",
        },
    }
