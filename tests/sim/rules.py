"""Every rule that a run of compare.py must have exercised, named as the oracle notes them."""

REASONS = (
    "key-missing", "key-invalid", "wrong-partition", "headers-too-many", "headers-too-large", "attribute-duplicate",
    "content-type-invalid", "envelope-invalid", "specversion-invalid", "type-missing", "type-unknown", "wrong-topic",
    "id-invalid", "source-invalid", "subject-invalid", "sequence-invalid", "baserev-invalid", "partitionkey-mismatch",
    "chunk-invalid", "data-base64", "data-missing", "data-too-large", "json-bom", "json-utf8", "json-nul", "json-surrogate",
    "json-number", "json-depth", "json-syntax", "data-not-object", "data-not-empty", "control-invalid")

FOLD = (
    "excluded", "after-erase", "returning user", "unsequenced",
    "repeat: closed", "repeat: made by another source", "repeat: made by a higher number", "repeat: same act and bytes",
    "repeat: below the window", "repeat-differs: no state", "repeat-differs: made by a lower number or none",
    "repeat-differs: other act or bytes", "older-than-window", "first number of a source", "late", "superseded", "jump",
    "conflict: put-put", "conflict: put-over-delete", "conflict: delete-lost", "applied: conflict of equals",
    "applied: put", "applied: delete", "applied: delete of an unknown item",
    "erase: new id", "erase: repeated id",
    "chunk: kept", "chunk: completes its set", "chunk: set of the wrong size", "chunk: set of the wrong hash",
    "chunk: number is there", "chunk: set is complete",
    "control: keepsake.genesis.v1", "control: keepsake.mark.v1", "control: keepsake.fold.v1",
    "control: keepsake.ruling.v1 exclude", "control: keepsake.ruling.v1 accept-gap", "skipped in an accepted gap",
    "ruling in an accepted gap")

STOPS = ("stop: unknown control type", "stop: fold version")

RULES = tuple("verdict: " + reason for reason in REASONS) + FOLD
