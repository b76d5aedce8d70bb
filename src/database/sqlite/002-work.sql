-- Durable work: an entry of a named queue a row. `state` is its position in WORK_STATES; up to 1 it is to be taken when due.
-- `due` and `added` are milliseconds since the epoch; an entry whose time has come has `due` 0.
CREATE TABLE work (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  queue TEXT NOT NULL,
  id TEXT NOT NULL,
  "group" TEXT NOT NULL,
  state INTEGER NOT NULL,
  priority INTEGER NOT NULL,
  due INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  added INTEGER NOT NULL,
  reason TEXT NOT NULL,
  value TEXT NOT NULL,
  UNIQUE (queue, id)
);
CREATE INDEX work_state ON work (queue, state, seq);
CREATE INDEX work_group ON work ("group", queue, state, seq) WHERE "group" <> '';
-- Apart, so that a million that wait for their hour are not walked through for one that is due.
CREATE INDEX work_ready ON work (queue, priority DESC, seq) WHERE state <= 1 AND due = 0;
CREATE INDEX work_delayed ON work (queue, due) WHERE state <= 1 AND due > 0;

-- How many there are, by queue and (where it is not '') by group; counting a million rows would take too long.
CREATE TABLE work_counts (
  queue TEXT NOT NULL,
  "group" TEXT NOT NULL,
  state INTEGER NOT NULL,
  count INTEGER NOT NULL,
  PRIMARY KEY ("group", queue, state)
) WITHOUT ROWID;

-- What was sent elsewhere (/exports). Columns as in `changes`; the identifiers are those at that time.
CREATE TABLE exports (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  level INTEGER NOT NULL,
  public_id BLOB NOT NULL,
  date INTEGER NOT NULL,
  remote TEXT NOT NULL,
  patient_id TEXT NOT NULL,
  study_instance_uid TEXT NOT NULL,
  series_instance_uid TEXT NOT NULL,
  sop_instance_uid TEXT NOT NULL
);
