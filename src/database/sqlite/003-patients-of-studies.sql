-- What a study says of its patient, whose other studies may say something else. Studies of before have what the patient's row has.
ALTER TABLE studies ADD COLUMN patient_name TEXT;
ALTER TABLE studies ADD COLUMN patient_birth_date TEXT;
UPDATE studies SET (patient_name, patient_birth_date) =
  (SELECT p.patient_name, p.patient_birth_date FROM patients p WHERE p.id = studies.parent);
CREATE INDEX studies_patient_name ON studies (patient_name);
CREATE INDEX studies_patient_birth_date ON studies (patient_birth_date);
