"""
The bucket's lifecycle rules, by which the store deletes images itself.

Ours is found by its id; all others there are left alone.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from storage.backends.s3.connection import code_of, map_errors, name_of
from storage.backends.s3.settings import S3Settings
from storage.errors import NotSupported, StorageMisconfigured
from storage.keys import results_root, root_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_RULE_ID = "imagemill-retention"


def rule_id(prefix: str) -> str:
    """The id of our rule; two installations in one bucket, of different prefixes, have one each."""
    root = root_of(prefix)
    return f"{_RULE_ID}-{hashlib.sha256(root.encode()).hexdigest()[:12]}" if root else _RULE_ID


class LifecycleRules:
    """Those of one bucket."""

    def __init__(self, client: S3Client, settings: S3Settings) -> None:
        self._s3 = client
        self._settings = settings

    def all(self) -> list[dict[str, Any]]:
        """
        The bucket's lifecycle rules, including those of others.

        Raises:
            NotSupported: The store has no lifecycle rules.
            ObjectNotFound, StorageUnavailable, StorageMisconfigured
        """
        try:
            with map_errors(self._settings):
                answer = self._s3.get_bucket_lifecycle_configuration(Bucket=self._settings.bucket)
        except StorageMisconfigured as exc:
            if code_of(exc) == "NoSuchLifecycleConfiguration":
                return []
            raise
        if not answer.get("Rules"):
            raise NotSupported(f"{name_of(self._settings)} has no lifecycle rules")
        return [dict(rule) for rule in answer["Rules"]]

    def replace(self, rules: list[dict[str, Any]]) -> None:
        """
        Replace all of the bucket's lifecycle rules.

        A store that has none may take the request that removes them for the removal of the bucket (rclone 1.75 does),
        so it is asked for its rules first.

        Raises:
            NotSupported, ObjectNotFound, StorageUnavailable, StorageMisconfigured
        """
        before = self.all()
        with map_errors(self._settings):
            if rules:
                configuration: Any = {"Rules": rules}
                self._s3.put_bucket_lifecycle_configuration(
                    Bucket=self._settings.bucket, LifecycleConfiguration=configuration
                )
            elif before:
                self._s3.delete_bucket_lifecycle(Bucket=self._settings.bucket)

    def find(self) -> dict[str, Any] | None:
        """Our rule, as the store has it; None where there is none. Raises as `all` does."""
        return next((rule for rule in self.all() if self._is_ours(rule)), None)

    def apply(self, days: int, *, whole_bucket: bool = False) -> None:
        """
        Have the store delete what jobs have made, `days` days after its upload. Uploaded files are none of that: jobs
        may wait for them, and they go by themselves.

        Args:
            days: At least one.
            whole_bucket: Without a prefix the rule is for all in the bucket that begins as the keys of images do, and
                this has to be said.

        Raises:
            NotSupported: The store has no lifecycle rules, or does not keep them.
            StorageMisconfigured: There is no prefix, and the whole bucket was not asked for; or the store refuses.
            ObjectNotFound, StorageUnavailable
        """
        root = root_of(self._settings.prefix)
        if not root and not whole_bucket:
            raise StorageMisconfigured(
                "IMAGEMILL_S3_PREFIX is empty, so the rule would delete everything in bucket "
                f"{self._settings.bucket!r} whose key begins with {results_root('')!r}, also what is others'. Set a "
                "prefix, or use --whole-bucket if nothing but images of ours is there."
            )
        rule = {
            "ID": rule_id(self._settings.prefix),
            "Status": "Enabled",
            "Filter": {"Prefix": results_root(self._settings.prefix)},
            "Expiration": {"Days": days},
        }
        self.replace([*(each for each in self.all() if not self._is_ours(each)), rule])

    def days_of(self, key: str) -> int | None:
        """After how many days some rule has the store delete an object; None for never. Raises as `all` does."""
        found = (_days(rule) for rule in self.all() if rule.get("Status") == "Enabled" and _covers(rule, key))
        return min((days for days in found if days is not None), default=None)

    def remove(self) -> bool:
        """Take our rule away; returns whether there was one. Raises as `all` does."""
        rules = self.all()
        others = [rule for rule in rules if not self._is_ours(rule)]
        if len(others) == len(rules):
            return False
        self.replace(others)
        return True

    def _is_ours(self, rule: dict[str, Any]) -> bool:
        return bool(rule.get("ID") == rule_id(self._settings.prefix))


def _days(rule: dict[str, Any]) -> int | None:
    days: int | None = rule.get("Expiration", {}).get("Days")
    return days


def _covers(rule: dict[str, Any], key: str) -> bool:
    """By the form of today, and by the one before it; what asks for tags or sizes may cover it, and is taken to."""
    chosen = rule.get("Filter", {})
    prefix = chosen.get("Prefix") or chosen.get("And", {}).get("Prefix") or rule.get("Prefix") or ""
    return key.startswith(prefix)
