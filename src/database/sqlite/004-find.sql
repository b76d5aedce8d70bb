-- For searches: what a study says of its patient's id, the latest first, labels and users' metadata.
ALTER TABLE studies ADD COLUMN patient_id TEXT;
UPDATE studies SET patient_id = (SELECT p.patient_id FROM patients p WHERE p.id = studies.parent);
CREATE INDEX studies_patient_id ON studies (patient_id);
CREATE INDEX studies_last_update ON studies (last_update);
CREATE INDEX labels_label ON labels (label, level, resource);
CREATE INDEX metadata_name ON metadata (name, level, resource);
