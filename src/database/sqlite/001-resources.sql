-- One row a resource. Public ids are the 20 bytes of their SHA-1, UUIDs 16 bytes, MD5 16 bytes, dates seconds and
-- deadlines milliseconds since the epoch. `tags` and `metadata` are JSON objects; the columns after them repeat the
-- searched identifiers, normalised (src/dicom/match.ts).
CREATE TABLE patients (
  id INTEGER PRIMARY KEY,
  public_id BLOB NOT NULL UNIQUE,
  tags TEXT NOT NULL,
  metadata TEXT NOT NULL,
  last_update INTEGER NOT NULL,
  stable_at INTEGER,             -- NULL: stable
  recycling INTEGER,             -- the lowest goes first; NULL: protected
  patient_id TEXT,
  patient_name TEXT,
  patient_birth_date TEXT
);
CREATE INDEX patients_stable_at ON patients (stable_at) WHERE stable_at IS NOT NULL;
CREATE INDEX patients_recycling ON patients (recycling) WHERE recycling IS NOT NULL;
CREATE INDEX patients_patient_id ON patients (patient_id);
CREATE INDEX patients_patient_name ON patients (patient_name);
CREATE INDEX patients_patient_birth_date ON patients (patient_birth_date);

CREATE TABLE studies (
  id INTEGER PRIMARY KEY,
  public_id BLOB NOT NULL UNIQUE,
  parent INTEGER NOT NULL REFERENCES patients (id),
  tags TEXT NOT NULL,
  metadata TEXT NOT NULL,
  last_update INTEGER NOT NULL,
  stable_at INTEGER,
  study_instance_uid TEXT,
  accession_number TEXT,
  study_date TEXT,
  study_description TEXT
);
CREATE INDEX studies_parent ON studies (parent);
CREATE INDEX studies_stable_at ON studies (stable_at) WHERE stable_at IS NOT NULL;
CREATE INDEX studies_study_instance_uid ON studies (study_instance_uid);
CREATE INDEX studies_accession_number ON studies (accession_number);
CREATE INDEX studies_study_date ON studies (study_date);
CREATE INDEX studies_study_description ON studies (study_description);

CREATE TABLE series (
  id INTEGER PRIMARY KEY,
  public_id BLOB NOT NULL UNIQUE,
  parent INTEGER NOT NULL REFERENCES studies (id),
  tags TEXT NOT NULL,
  metadata TEXT NOT NULL,
  last_update INTEGER NOT NULL,
  stable_at INTEGER,
  series_instance_uid TEXT
);
CREATE INDEX series_parent ON series (parent);
CREATE INDEX series_stable_at ON series (stable_at) WHERE stable_at IS NOT NULL;
CREATE INDEX series_series_instance_uid ON series (series_instance_uid);

-- The DICOM file of an instance is inline: it has exactly one.
CREATE TABLE instances (
  id INTEGER PRIMARY KEY,
  public_id BLOB NOT NULL UNIQUE,
  parent INTEGER NOT NULL REFERENCES series (id),
  uuid BLOB NOT NULL,
  size INTEGER NOT NULL,
  md5 BLOB,
  compressed_size INTEGER,       -- NULL: as `size`
  compressed_md5 BLOB,           -- NULL: as `md5`
  compression INTEGER NOT NULL,  -- 0 none, 1 zlib
  revision INTEGER NOT NULL,
  sop_instance_uid TEXT,
  tags TEXT NOT NULL,
  metadata TEXT NOT NULL
);
CREATE INDEX instances_parent ON instances (parent);
CREATE INDEX instances_sop_instance_uid ON instances (sop_instance_uid);

-- What users and jobs add; `level` 0 is a patient, 3 an instance, `resource` the id in that level's table. A metadata
-- here hides the one of the same name in the row.
CREATE TABLE metadata (
  level INTEGER NOT NULL,
  resource INTEGER NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  revision INTEGER NOT NULL,
  PRIMARY KEY (level, resource, name)
) WITHOUT ROWID;

CREATE TABLE attachments (
  level INTEGER NOT NULL,
  resource INTEGER NOT NULL,
  content_type INTEGER NOT NULL,
  uuid BLOB NOT NULL UNIQUE,
  size INTEGER NOT NULL,
  md5 BLOB,
  compressed_size INTEGER,
  compressed_md5 BLOB,
  compression INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  PRIMARY KEY (level, resource, content_type)
) WITHOUT ROWID;

CREATE TABLE labels (
  level INTEGER NOT NULL,
  resource INTEGER NOT NULL,
  label TEXT NOT NULL,
  PRIMARY KEY (level, resource, label)
) WITHOUT ROWID;

-- The log. NewInstance (type 1) is most of it: its own type is found by scanning, the others by their index.
CREATE TABLE changes (
  seq INTEGER PRIMARY KEY,
  type INTEGER NOT NULL,         -- position in CHANGE_TYPES
  level INTEGER NOT NULL,
  public_id BLOB NOT NULL,
  date INTEGER NOT NULL
);
CREATE INDEX changes_type ON changes (type, seq) WHERE type <> 1;

CREATE TABLE removals (uuid BLOB PRIMARY KEY) WITHOUT ROWID;

CREATE TABLE properties (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- One row, written once a commit. Sizes in bytes.
CREATE TABLE counters (
  id INTEGER PRIMARY KEY CHECK (id = 0),
  patients INTEGER NOT NULL DEFAULT 0,
  studies INTEGER NOT NULL DEFAULT 0,
  series INTEGER NOT NULL DEFAULT 0,
  instances INTEGER NOT NULL DEFAULT 0,
  disk_size INTEGER NOT NULL DEFAULT 0,
  uncompressed_size INTEGER NOT NULL DEFAULT 0,
  dicom_disk_size INTEGER NOT NULL DEFAULT 0,
  dicom_uncompressed_size INTEGER NOT NULL DEFAULT 0,
  seq INTEGER NOT NULL DEFAULT 0,
  recycling INTEGER NOT NULL DEFAULT 0
);
INSERT INTO counters (id) VALUES (0);
