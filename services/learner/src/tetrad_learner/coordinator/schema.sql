CREATE TABLE IF NOT EXISTS groups (
    draw INTEGER PRIMARY KEY,
    size INTEGER NOT NULL,
    grader_version TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',   -- why it was dropped
    detail TEXT NOT NULL DEFAULT '',
    dropped_for INTEGER                -- the step that was waited for when it was dropped
) STRICT;
CREATE INDEX IF NOT EXISTS dropped_groups ON groups (dropped_for) WHERE dropped_for IS NOT NULL;
CREATE TABLE IF NOT EXISTS slots (
    draw INTEGER NOT NULL,
    sample INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'empty',
    versions TEXT NOT NULL DEFAULT '[]',
    digest TEXT NOT NULL DEFAULT '',
    token INTEGER NOT NULL DEFAULT 0,
    reward REAL NOT NULL DEFAULT 0,
    num_tokens INTEGER NOT NULL DEFAULT 0,
    step INTEGER,
    PRIMARY KEY (draw, sample)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox (
    draw INTEGER NOT NULL,
    sample INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (draw, sample)
) STRICT;
CREATE TABLE IF NOT EXISTS leases (
    token INTEGER PRIMARY KEY,
    draw INTEGER NOT NULL,
    engine TEXT NOT NULL,
    version INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'held',
    reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS steps (
    step INTEGER PRIMARY KEY,
    state TEXT NOT NULL,
    lineage INTEGER NOT NULL,
    draws TEXT NOT NULL,
    multiplicities TEXT NOT NULL DEFAULT '[]',   -- one for each draw; none means once each
    journal_hash TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    is_poisoned INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS skipped_steps (step INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS lineages (
    lineage INTEGER PRIMARY KEY,
    from_step INTEGER NOT NULL,
    attempt INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS versions (
    version INTEGER PRIMARY KEY,
    lineage INTEGER NOT NULL,
    step INTEGER NOT NULL,
    digest TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS checkpoints (step INTEGER PRIMARY KEY, folder TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS evaluations (round INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS run_states (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    state TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT;
-- Whose turn it was on the GPUs that learner and engines share, and who may hold memory of them.
CREATE TABLE IF NOT EXISTS device_phases (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    phase TEXT NOT NULL,
    turn INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS device_holders (engine TEXT PRIMARY KEY, process TEXT NOT NULL) STRICT;
