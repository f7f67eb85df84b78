"""All attacks, by what people call them."""

from __future__ import annotations

from collections.abc import Mapping

from ops.bench.api.attacks.attack import Attack
from ops.bench.api.attacks.bodies import BODIES
from ops.bench.api.attacks.connections import CONNECTIONS
from ops.bench.api.attacks.records import RECORDS
from ops.bench.api.attacks.work import WORK

ATTACKS: Mapping[str, Attack] = {**BODIES, **CONNECTIONS, **WORK, **RECORDS}
