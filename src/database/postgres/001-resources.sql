-- One row a resource. Public ids are the 20 bytes of their SHA-1, MD5 16 bytes, dates of changes seconds since the epoch.
-- `tags` and `metadata` are kept as the text they came as; the columns after them repeat the searched identifiers,
-- normalised (src/dicom/match.ts), in the order of their bytes so that one index serves equality, prefixes and ranges.
-- No foreign keys: what deletes has the index to itself (transaction.ts), and each stored instance would pay for the check.
--
-- Each stored batch writes `active_at` of the parents of its instances, and nothing that has an index: the row stays on
-- its page. So `stable_at` and `recycling` say when to look again; whoever looks moves them on where `active_at` is later.
CREATE TABLE patients (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  public_id bytea NOT NULL UNIQUE,
  tags json NOT NULL,
  metadata json NOT NULL,
  active_at bigint NOT NULL,     -- microseconds since the epoch: the last instance
  stable_at bigint,              -- microseconds since the epoch: not stable before; NULL: stable
  recycling bigint,              -- microseconds since the epoch: the lowest goes first; NULL: protected
  patient_id text COLLATE "C",
  patient_name text COLLATE "C",
  patient_birth_date text COLLATE "C"
) WITH (fillfactor = 70);
CREATE INDEX patients_stable_at ON patients (stable_at) WHERE stable_at IS NOT NULL;
CREATE INDEX patients_recycling ON patients (recycling) WHERE recycling IS NOT NULL;
CREATE INDEX patients_patient_id ON patients (patient_id);
CREATE INDEX patients_patient_name ON patients (patient_name);
CREATE INDEX patients_patient_birth_date ON patients (patient_birth_date);

CREATE TABLE studies (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  public_id bytea NOT NULL UNIQUE,
  parent bigint NOT NULL,
  tags json NOT NULL,
  metadata json NOT NULL,
  active_at bigint NOT NULL,
  stable_at bigint,
  study_instance_uid text COLLATE "C",
  accession_number text COLLATE "C",
  study_date text COLLATE "C",
  study_description text COLLATE "C",
  patient_name text COLLATE "C",       -- what the study says of its patient, whose other studies may say something else
  patient_birth_date text COLLATE "C"
) WITH (fillfactor = 70);
CREATE INDEX studies_parent ON studies (parent);
CREATE INDEX studies_stable_at ON studies (stable_at) WHERE stable_at IS NOT NULL;
CREATE INDEX studies_study_instance_uid ON studies (study_instance_uid);
CREATE INDEX studies_accession_number ON studies (accession_number);
CREATE INDEX studies_study_date ON studies (study_date);
CREATE INDEX studies_study_description ON studies (study_description);
CREATE INDEX studies_patient_name ON studies (patient_name);
CREATE INDEX studies_patient_birth_date ON studies (patient_birth_date);

CREATE TABLE series (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  public_id bytea NOT NULL UNIQUE,
  parent bigint NOT NULL,
  tags json NOT NULL,
  metadata json NOT NULL,
  active_at bigint NOT NULL,
  stable_at bigint,
  series_instance_uid text COLLATE "C"
) WITH (fillfactor = 70);
CREATE INDEX series_parent ON series (parent);
CREATE INDEX series_stable_at ON series (stable_at) WHERE stable_at IS NOT NULL;
CREATE INDEX series_series_instance_uid ON series (series_instance_uid);

-- The DICOM file of an instance is inline: it has exactly one.
CREATE TABLE instances (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  public_id bytea NOT NULL UNIQUE,
  parent bigint NOT NULL,
  uuid uuid NOT NULL,
  size bigint NOT NULL,
  md5 bytea,
  compressed_size bigint,        -- NULL: as `size`
  compressed_md5 bytea,          -- NULL: as `md5`
  compression smallint NOT NULL, -- 0 none, 1 zlib
  revision integer NOT NULL,
  sop_instance_uid text COLLATE "C",
  tags json NOT NULL,
  metadata json NOT NULL
);
CREATE INDEX instances_parent ON instances (parent);
CREATE INDEX instances_sop_instance_uid ON instances (sop_instance_uid);

-- What users and jobs add; `level` 0 is a patient, 3 an instance, `resource` the id in that level's table. A metadata
-- here hides the one of the same name in the row.
CREATE TABLE metadata (
  level smallint NOT NULL,
  resource bigint NOT NULL,
  name text COLLATE "C" NOT NULL,
  value text NOT NULL,
  revision integer NOT NULL,
  PRIMARY KEY (level, resource, name)
);

CREATE TABLE attachments (
  level smallint NOT NULL,
  resource bigint NOT NULL,
  content_type integer NOT NULL,
  uuid uuid NOT NULL UNIQUE,
  size bigint NOT NULL,
  md5 bytea,
  compressed_size bigint,
  compressed_md5 bytea,
  compression smallint NOT NULL,
  revision integer NOT NULL,
  PRIMARY KEY (level, resource, content_type)
);

CREATE TABLE labels (
  level smallint NOT NULL,
  resource bigint NOT NULL,
  label text COLLATE "C" NOT NULL,
  PRIMARY KEY (level, resource, label)
);
CREATE INDEX labels_label ON labels (label);

-- The log. NewInstance (type 1) is most of it: its own type is found by scanning, the others by their index.
CREATE TABLE changes (
  seq bigint PRIMARY KEY,
  type smallint NOT NULL,        -- position in CHANGE_TYPES
  level smallint NOT NULL,
  public_id bytea NOT NULL,
  date bigint NOT NULL
);
CREATE INDEX changes_type ON changes (type, seq) WHERE type <> 1;

CREATE TABLE removals (uuid uuid PRIMARY KEY);

CREATE TABLE properties (name text COLLATE "C" PRIMARY KEY, value text NOT NULL);

-- One row, written once a commit, last: its lock is what puts commits in order. Sizes in bytes.
CREATE TABLE counters (
  id smallint PRIMARY KEY CHECK (id = 0),
  patients bigint NOT NULL DEFAULT 0,
  studies bigint NOT NULL DEFAULT 0,
  series bigint NOT NULL DEFAULT 0,
  instances bigint NOT NULL DEFAULT 0,
  disk_size bigint NOT NULL DEFAULT 0,
  uncompressed_size bigint NOT NULL DEFAULT 0,
  dicom_disk_size bigint NOT NULL DEFAULT 0,
  dicom_uncompressed_size bigint NOT NULL DEFAULT 0,
  seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);
INSERT INTO counters (id) VALUES (0);
