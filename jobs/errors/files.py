"""What is wrong with an uploaded file, or with what is done to it."""

from __future__ import annotations

from jobs.errors.base import Permanent


class FileTooLarge(Permanent):
    """
    An uploaded file has too many bytes; nothing of it was kept.

    Attributes:
        field: Of the request: what the file was sent as.
    """

    def __init__(self, field: str, max_bytes: int) -> None:
        super().__init__(f"{field}: a file may have at most {max_bytes} bytes")
        self.field = field


class FileNotFound(Permanent):
    """There is no file of that id, or it was deleted. It does not say whether it is another caller's."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"there is no file {file_id}, or it was deleted")
        self.file_id = file_id


class FileInUse(Permanent):
    """A job that has not ended needs the file, so it was not deleted."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"file {file_id} is needed by a job that has not ended: delete it when the job has ended")
        self.file_id = file_id


class FilesTooLarge(Permanent):
    """The caller's files have reached their limit of bytes; nothing was kept."""

    def __init__(self, caller: str, max_bytes: int) -> None:
        super().__init__(
            f"the files of {caller} have reached their limit of {max_bytes / (1 << 20):.4g} MiB: nothing was kept. "
            "Delete some of them, and send it again"
        )
        self.caller, self.max_bytes = caller, max_bytes
