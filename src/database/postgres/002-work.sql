-- Durable work: an entry of a named queue a row. `state` is its position in WORK_STATES; up to 1 it is to be taken when due.
-- `due` and `added` are milliseconds since the epoch; an entry whose time has come has `due` 0.
CREATE TABLE work (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue text COLLATE "C" NOT NULL,
  id text COLLATE "C" NOT NULL,
  "group" text COLLATE "C" NOT NULL,
  state smallint NOT NULL,
  priority integer NOT NULL,
  due bigint NOT NULL,
  attempts integer NOT NULL,
  added bigint NOT NULL,
  reason text NOT NULL,
  value text NOT NULL,
  UNIQUE (queue, id)
);
CREATE INDEX work_state ON work (queue, state, seq);
CREATE INDEX work_group ON work ("group", queue, state, seq) WHERE "group" <> '';
-- Apart, so that a million that wait for their hour are not walked through for one that is due.
CREATE INDEX work_ready ON work (queue, priority DESC, seq) WHERE state <= 1 AND due = 0;
CREATE INDEX work_delayed ON work (queue, due) WHERE state <= 1 AND due > 0;

-- How many there are, by queue and (where it is not '') by group; counting a million rows would take too long.
CREATE TABLE work_counts (
  queue text COLLATE "C" NOT NULL,
  "group" text COLLATE "C" NOT NULL,
  state smallint NOT NULL,
  count bigint NOT NULL,
  PRIMARY KEY ("group", queue, state)
) WITH (fillfactor = 50);

-- What was sent elsewhere (/exports). Columns as in `changes`; the identifiers are those at that time.
CREATE TABLE exports (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  level smallint NOT NULL,
  public_id bytea NOT NULL,
  date bigint NOT NULL,
  remote text NOT NULL,
  patient_id text NOT NULL,
  study_instance_uid text NOT NULL,
  series_instance_uid text NOT NULL,
  sop_instance_uid text NOT NULL
);
