"""The operator's commands for notifications of finished jobs that could not be delivered."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.announce.announcer import PROTOCOLS
from jobs.errors import InvalidRequest
from jobs.table.outbox import Outbox
from jobs.table.pieces import in_pieces
from producer.cli.output.reporting import JsonFlag, ago, print_outcome, reporting
from producer.cli.output.terminal import Terminal, print_json, table_of
from producer.client.parts import Parts, open_parts

notifications_app = typer.Typer(
    help="Notifications of finished jobs that could not be delivered.", no_args_is_help=True
)


@notifications_app.command("list")
def list_notifications(as_json: JsonFlag = False) -> None:
    """List notifications that were given up, the newest first."""
    with reporting(as_json):
        parts = open_parts()
        table = table_of("protocol", "job", "queue", "status", "ended", "given up")
        for protocol, outbox in _outboxes(parts):
            found = dict(outbox.given_up_at())
            for record in (each for some in in_pieces(list(found)) for each in parts.table.get_many(some)):
                given_up_at = found[record.id]
                if as_json:
                    where = {"protocol": protocol, "id": record.id, "queue": record.queue, "status": record.status}
                    print_json({**where, "ended_at": record.ended_at, "given_up_at": given_up_at})
                else:
                    row = (protocol, record.id, record.queue, str(record.status))
                    table.add_row(*row, ago(record.ended_at), ago(given_up_at))
        if not as_json:
            Terminal().print(table)


@notifications_app.command()
def retry(
    job_ids: Annotated[list[str] | None, typer.Argument(help="Ids of the jobs.", metavar="[ID]…")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All notifications that were given up.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Deliver notifications again that were given up; those that wait for a retry are retried now."""
    with reporting(as_json):
        if everything == bool(job_ids):
            raise InvalidRequest("job", "give job ids, or --all")
        retried: list[str] = []
        for _, outbox in _outboxes(open_parts()):
            retried += outbox.retry(job_ids or outbox.given_up())
        if missing := [each for each in job_ids or () if each not in retried]:
            raise InvalidRequest("job", f"{missing[0]} has no pending notification")
        count = len(set(retried))
        print_outcome(
            {"retried": sorted(set(retried))},
            f"{count} notification{'' if count == 1 else 's'} will be sent again",
            as_json,
        )


def _outboxes(parts: Parts) -> list[tuple[str, Outbox]]:
    return [(protocol, Outbox(parts.redis, parts.settings, protocol)) for protocol in PROTOCOLS]
