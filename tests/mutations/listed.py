"""All mutations."""

from __future__ import annotations

from tests.mutations.deletions import DELETIONS
from tests.mutations.doors import DOORS
from tests.mutations.jobs import JOBS
from tests.mutations.kept import KEPT
from tests.mutations.waiting import WAITING

MUTATIONS = (*JOBS, *KEPT, *WAITING, *DOORS, *DELETIONS)
