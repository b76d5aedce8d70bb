-- For searches: what a study says of its patient's id, users' metadata, and the order of studies, in which what is absent comes first.
ALTER TABLE studies ADD COLUMN patient_id text COLLATE "C";
UPDATE studies SET patient_id = (SELECT p.patient_id FROM patients p WHERE p.id = studies.parent);
CREATE INDEX studies_patient_id ON studies (patient_id NULLS FIRST, id);
DROP INDEX studies_accession_number, studies_study_date, studies_study_description, studies_patient_name,
  studies_patient_birth_date;
CREATE INDEX studies_accession_number ON studies (accession_number NULLS FIRST, id);
CREATE INDEX studies_study_date ON studies (study_date NULLS FIRST, id);
CREATE INDEX studies_study_description ON studies (study_description NULLS FIRST, id);
CREATE INDEX studies_patient_name ON studies (patient_name NULLS FIRST, id);
CREATE INDEX studies_patient_birth_date ON studies (patient_birth_date NULLS FIRST, id);
CREATE INDEX metadata_name ON metadata (name, level, resource);
DROP INDEX labels_label;
CREATE INDEX labels_label ON labels (label, level, resource);
