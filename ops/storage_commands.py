"""The operator's commands for what lies in the store: `./imagemill storage …`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from jobs.process.settings import load_settings
from jobs.redis.connection import connect
from jobs.table.reader import JobReader
from ops.orphans import MIN_AGE_S, find_orphans
from producer.cli.output.reporting import JsonFlag, print_outcome, reporting
from storage import retention
from storage.errors import NotSupported, StorageMisconfigured
from storage.registry import open_store
from storage.store import Store, StoredObject

storage_app = typer.Typer(help="Delete old images, and images that no job refers to.", no_args_is_help=True)
retention_app = typer.Typer(
    help="The lifecycle rule of the image store: how long it keeps images.", no_args_is_help=True
)
storage_app.add_typer(retention_app, name="retention")

Days = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of days to keep images. Default: the store's setting (IMAGEMILL_S3_RETENTION_DAYS)."
    ),
]
WholeBucket = Annotated[
    bool, typer.Option("--whole-bucket", help="Allow a rule without a prefix: it deletes everything in the bucket.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted; delete nothing.")]

_SWEEP = "Let `./imagemill storage sweep` run once a day instead."
_DELETED_AT_ONCE = 1_000


@retention_app.command("show")
def show_rule(as_json: JsonFlag = False) -> None:
    """Show the store's rule."""
    with reporting(as_json):
        store = _store()
        try:
            days = store.retention_rule()
        except NotSupported as exc:
            print_outcome({"days": None, "rules": False}, f"{exc}. {_SWEEP}", as_json)
            return
        kept = "are kept for ever" if days is None else f"are deleted after {days} days"
        print_outcome({"days": days, "rules": True}, f"{store.where}: images {kept}", as_json)


@retention_app.command("apply")
def apply_rule(days: Days = None, whole_bucket: WholeBucket = False, as_json: JsonFlag = False) -> None:
    """Set the store's rule: it deletes images this many days after upload. Other rules stay."""
    with reporting(as_json):
        store = _store()
        kept = _days(days, store)
        try:
            store.set_retention_rule(kept, whole_place=whole_bucket)
        except NotSupported as exc:
            raise StorageMisconfigured(f"{exc}. {_SWEEP}") from exc
        text = f"{store.where}: images are deleted {kept} days after upload.{_warn_of_records(kept)}"
        print_outcome({"days": kept, "prefix": store.settings.prefix}, text, as_json)


@retention_app.command("remove")
def remove_rule(as_json: JsonFlag = False) -> None:
    """Remove the rule: the store keeps images for ever."""
    with reporting(as_json):
        store = _store()
        removed = store.remove_retention_rule()
        print_outcome({"removed": removed}, f"{store.where}: {'removed' if removed else 'there was no rule'}", as_json)


@storage_app.command()
def sweep(days: Days = None, dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """Delete images older than a number of days; for stores without lifecycle rules. Safe at any time."""
    with reporting(as_json):
        store = _store()
        found = retention.expired(store, _days(days, store), time.time())
        _delete(store, found, "old", dry_run, as_json)


@storage_app.command()
def orphans(
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete them; without this option they are only counted.")
    ] = False,
    older_than: Annotated[
        float, typer.Option(min=MIN_AGE_S / 3600, metavar="HOURS", help="Only images older than this.")
    ] = 24.0,
    as_json: JsonFlag = False,
) -> None:
    """Find images that no job refers to: their worker died, or another attempt finished first."""
    with reporting(as_json):
        store, settings = _store(), load_settings()
        with connect(settings) as client:
            folders = find_orphans(store, JobReader(client, settings), time.time(), older_than * 3600)
            _delete(store, (each for folder in folders for each in folder.objects), "orphaned", not delete, as_json)


def _delete(store: Store, found: Iterable[StoredObject], kind: str, dry_run: bool, as_json: bool) -> None:
    count = size_bytes = 0
    keys: list[str] = []
    for each in found:
        count, size_bytes = count + 1, size_bytes + each.size_bytes
        keys.append(each.key)
        if len(keys) >= _DELETED_AT_ONCE:
            _delete_some(store, keys, dry_run)
    _delete_some(store, keys, dry_run)
    result: dict[str, Any] = {"objects": count, "bytes": size_bytes, "deleted": not dry_run}
    done = "would be deleted" if dry_run else "deleted"
    print_outcome(result, f"{store.where}: {count} {kind} objects of {size_bytes / 1e6:.1f} MB {done}", as_json)


def _delete_some(store: Store, keys: list[str], dry_run: bool) -> None:
    if keys and not dry_run:
        store.delete_many(keys)
    keys.clear()


def _days(given: int | None, store: Store) -> int:
    days = given or store.settings.retention_days
    if days is None:
        name = store.settings.variable("retention_days")
        raise StorageMisconfigured(f"{name} is not set, so images are kept for ever. Set it, or use --days.")
    return days


def _warn_of_records(days: int) -> str:
    kept_s = load_settings().retention_s
    if days * 24 * 3600 >= kept_s:
        return ""
    return f" Job records are kept {kept_s / 86400:g} days and will refer to deleted images (IMAGEMILL_RETENTION_S)."


def _store() -> Store:
    """The one of the environment, in which no name of any room may be misspelt: what follows may delete."""
    load_settings()
    return open_store()
