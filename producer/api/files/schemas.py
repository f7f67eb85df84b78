"""What requests and answers look like, for the OpenAPI document."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from jobs.inputs.files import File
from producer.files.intake import PURPOSES


class FileBody(BaseModel):
    """A file."""

    id: str = Field(examples=["file-9NvXk2mQ4pLr8sTuVwYzAbCd"])
    object: Literal["file"]
    bytes: int = Field(description="Size of the file.")
    created_at: int = Field(description="Unix time, seconds.")
    expires_at: int | None = Field(
        description="Unix time, seconds. The file stays longer if a job needs it then; null: it does not expire."
    )
    filename: str
    purpose: str
    status: Literal["processed"]
    content_type: str = Field(description="Found in the file itself. An extension to OpenAI's API.")
    width: int | None = Field(description="Pixels. An extension to OpenAI's API.")
    height: int | None = Field(description="Pixels. An extension to OpenAI's API.")


class FilesBody(BaseModel):
    """A page of files."""

    object: Literal["list"]
    data: list[FileBody]
    first_id: str | None
    last_id: str | None = Field(description="Send it as `after` for the next page.")
    has_more: bool


class FileDeletedBody(BaseModel):
    """A file that is deleted."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


UPLOAD_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "file": {"type": "string", "format": "binary", "description": "A picture: PNG, JPEG or WebP."},
                    "purpose": {"type": "string", "enum": PURPOSES, "description": "Stored and shown."},
                    "expires_after[anchor]": {
                        "type": "string",
                        "enum": ["created_at"],
                        "description": "From when `expires_after[seconds]` count.",
                    },
                    "expires_after[seconds]": {
                        "type": "integer",
                        "minimum": 3_600,
                        "maximum": 2_592_000,
                        "description": "How long it is kept; 30 days if it is left out.",
                    },
                },
                "required": ["file", "purpose"],
                "dependentRequired": {
                    "expires_after[anchor]": ["expires_after[seconds]"],
                    "expires_after[seconds]": ["expires_after[anchor]"],
                },
                "additionalProperties": False,
            }
        }
    },
}


def shown(file: File) -> dict[str, Any]:
    """A file as answers have it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "content_type": file.content_type,
        "width": file.width,
        "height": file.height,
    }
