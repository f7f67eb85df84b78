"""
What can go wrong with a job, and whether trying again helps.

    ImagemillError
    ├── Permanent                 trying again gives the same answer
    │   ├── InvalidRequest        a field of the request is wrong
    │   │   ├── ModelNotAvailable no model of that name
    │   │   ├── NoEffect          the model would not heed the field
    │   │   ├── ReadersLost       every worker that read the message died
    │   │   └── MessageOverQuota  a message came while its caller was at its limit of queued jobs
    │   ├── IdempotencyConflict   same idempotency key, other parameters
    │   ├── JobNotFound           no job of that id (any more)
    │   ├── JobNotQueued          the job has begun or ended
    │   ├── JobNotEnded           the job goes on, so that its result cannot be deleted
    │   ├── ResultDeleted         what the job made, and was asked for, was deleted
    │   ├── RecordUnreadable      this version cannot read the job's record
    │   ├── BatchNotFound         no batch of that id (any more)
    │   ├── FileTooLarge          an uploaded file has too many bytes
    │   ├── FileNotFound          no file of that id (any more)
    │   ├── FileInUse             a job that goes on needs the file
    │   ├── FilesTooLarge         the caller's files have reached their limit of bytes
    │   ├── BatchCanceled         the batch takes no more jobs
    │   ├── InvalidConfiguration  a setting or the model catalogue is wrong
    │   ├── OlderVersionRuns      a process runs that this version must not run beside
    │   └── JobFailed             the job itself ended without images
    └── Retryable                 the same call may succeed later
        ├── RedisUnavailable      Redis cannot be reached
        ├── RedisFull             Redis has no memory for more jobs
        ├── PartlySubmitted       some of many jobs are queued, and Redis failed at the others
        ├── QuotaExceeded         the caller has reached its limit of queued jobs
        │   └── TooMuchKept       the caller's jobs have reached their limit of Redis memory
        ├── NotServed             no worker serves such jobs now, and the operator does not let them wait
        ├── WaitTimeout           the job did not end in the time given
        └── Fenced                another attempt owns the job now
"""

from __future__ import annotations

# The tree has all names; a test holds it to what stands in the files.
from jobs.errors.base import *  # noqa: F403
from jobs.errors.files import *  # noqa: F403
from jobs.errors.records import *  # noqa: F403
from jobs.errors.requests import *  # noqa: F403
from jobs.errors.system import *  # noqa: F403

# Result backends of Celery store an error's module beside its name, and clients of any version look for it there.
for _each in list(vars().values()):
    if isinstance(_each, type) and _each.__module__.startswith(f"{__name__}."):
        _each.__module__ = __name__
