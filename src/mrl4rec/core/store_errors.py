"""What an object store refused, in words: s3fs, delta-rs and Arrow each say it in their own."""

from __future__ import annotations

from mrl4rec.core.errors import Mrl4recError

SIGNS = ("botocore.", "Generic S3 error", "Error performing", "AWS Error")
"""Of an error of an object store: of s3fs, of delta-rs (two), of Arrow."""
REFUSED = ("SignatureDoesNotMatch", "InvalidAccessKeyId", "ExpiredToken", "InvalidToken",
           "AccessDenied", "ACCESS_DENIED", "Forbidden", "NoCredentials", "CredentialRetrieval",
           "CredentialsNotLoaded", "SIGNATURE", "INVALID_ACCESS_KEY", "EXPIRED_TOKEN")  # fmt: skip
FULL = ("InsufficientStorage", "StorageFull", "QuotaExceeded")
SKEWED = ("RequestTimeTooSkewed", "REQUEST_TIME_TOO_SKEWED")
AGAIN = "then run the same command again: what is finished is kept"
KEYS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN) to keys that hold, or "
    "see the profile (AWS_PROFILE, AWS_SHARED_CREDENTIALS_FILE, AWS_CONFIG_FILE)"
)


def is_one(error: BaseException) -> bool:
    """Whether an error, or what it came from, is of an object store."""
    return any(sign in _chain(error) for sign in SIGNS)


def explained(error: BaseException, where: str) -> Mrl4recError | None:
    """Such an error as what, where and what to do; None for any other."""
    said = _chain(error)
    if not any(sign in said for sign in SIGNS):
        return None
    first = str(error).strip().partition("\n")[0][:300]
    if any(word in said for word in SKEWED):  # a 403 too
        what, todo = f"this machine's clock is wrong: {first}", "set it (NTP)"
    elif any(word in said for word in REFUSED):
        what, todo = f"the object store refuses the credentials: {first}", KEYS
    elif any(word in said for word in FULL):
        what = "the object store is full; the tables are as they were before"
        todo = "make room in it"
    else:
        what = f"the object store failed: {first}"
        todo = "see that it runs (mrl4rec doctor)"
    return Mrl4recError(what, where=where, todo=f"{todo}, {AGAIN}")


def _chain(error: BaseException | None) -> str:
    """The kinds and words of an error and of what it came from."""
    said = []
    while error is not None:
        said.append(f"{type(error).__module__}.{type(error).__name__} {error}")
        error = error.__cause__ or error.__context__
    return "\n".join(said)
