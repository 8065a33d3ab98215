"""The faults by number, and those that cannot be injected here, with the reason."""

from __future__ import annotations

FAULT = "fault"
"""Name of the property of a report that says what the test stands for."""
FAULTS = {
    "F1": "killed between stages",
    "F2": "killed in the middle of a stage",
    "F3": "the worker is killed or stopped; a late zombie",
    "F4": "two flows on one data set at once",
    "F5": "Prefect's database away for 60 s",
    "F6": "a run is cancelled",
    "F7": "ten schedules were missed",
    "F8": "an executor or task killed on its first attempt",
    "F9": "the commit lands, its answer is lost",
    "F10": "dumps twice, overlapping, out of order",
    "F11": "append against overwrite",
    "F12": "a reader during an overwrite",
    "F13": "VACUUM after promotion",
    "F14": "truncated gzip, bad UTF-8, half a line, binary",
    "F15": "columns, times and ratings that are wrong",
    "F16": "a k-core of many rounds; one that empties",
    "F17": "one item holds a tenth of all rows",
    "F18": "disk full",
    "F19": "empty tables; expectations that raise or are missing",
    "F20": "exactly at a limit, one row past it",
    "F21": "a test pair planted in train",
    "F22": "a rank is killed",
    "F23": "SIGTERM (preemption)",
    "F24": "checkpoints half-written, flipped, empty, deleted",
    "F25": "users not divisible by ranks, an empty shard",
    "F26": "NaN on one rank",
    "F27": "a rank stalls",
    "F28": "out of memory in ranking",
    "F29": "resumed with another config, data or world size",
    "F30": "the tracking server is away",
    "F31": "the artifact store fails half-way",
    "F32": "a crash between register and alias",
    "F33": "a challenger better by noise only, or of other data",
    "F34": "a challenger that does not load, fit or hold numbers",
    "F35": "promoted, rolled back; two promotions at once",
    "F36": "no champion, champion deleted, registry empty",
    "F37": "1, 7 and 64 partitions",
    "F38": "another hash seed, locale and time zone",
    "C1": "the object store away for 60 s",
    "C2": "a PUT lands, its answer is lost",
    "C3": "two writers at once, 50 commits each",
    "C4": "an executor of the cluster killed",
    "C5": "an executor larger than any worker",
    "C6": "a machine killed in training",
    "C7": "Postgres killed under a running flow",
    "C8": "both databases dropped",
    "C9": "MLflow's artifact store away",
    "C10": "credentials that stop being valid in a run",
    "C11": "a clock wrong by 10 minutes",
    "C12": "a full bucket",
    "C13": "a local warehouse with a remote master",
}
"""What FAULTS calls each, in short."""

# F3 and F4 hold on one machine: a stage's lock is the operating system's. A holder that is stopped
# (SIGSTOP) keeps it, who waits for it is told its process number, and kill -9 frees it at once. Who
# holds no lock (another machine) is kept right by the version in each commit.
NOT_INJECTED: dict[str, tuple[str, str]] = {}
"""Fault, or a part of one → what it would take, and why that cannot be had here."""
