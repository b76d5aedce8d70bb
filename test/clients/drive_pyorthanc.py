"""Drives a server through pyorthanc as its users do. Arguments and server are those of drive_orthanc_api_client.py."""

import asyncio
import io
import sys
import tempfile
import zipfile

import pydicom
from pyorthanc import (
    AsyncOrthanc,
    Instance,
    Job,
    Modality,
    Orthanc,
    find,
    find_instances,
    find_patients,
    find_series,
    find_studies,
    upload,
    util,
)
from pyorthanc.jobs import State

url, folder = sys.argv[1:]
client = Orthanc(url)


def equal(ours, expected):
    assert ours == expected, f"{ours!r} is not {expected!r}"


# Upload
equal(len(upload(client, f"{folder}/one.dcm")), 1)
equal(len(upload(client, f"{folder}/study", recursive=True)), 4)
equal(len(upload(client, f"{folder}/study", check_before_upload=True)), 4)

# Browse and find
[patient] = find_patients(client, query={"PatientID": "P1"})
equal(patient.patient_id, "P1")
[study] = patient.studies
equal(study.uid, "2.25.100")
equal(len(study.series), 2)
equal(study.parent_patient, patient)
for series in study.series:
    equal((series.modality, len(series.instances)), ("CT", 2))
    equal(series.get_shared_tags(simplify=True)["PatientID"], "P1")
instance = study.series[0].instances[0]
equal(instance.get_pydicom().PatientID, "P1")
equal(instance.simplified_tags["StudyInstanceUID"], "2.25.100")
assert instance.file_size > 0 and instance.tags and study.last_update
equal(len(find_series(client, query={"Modality": "CT"})), 3)
equal(len(find_instances(client, query={"PatientID": "P1"})), 4)
equal(find_studies(client, query={"PatientID": "nope"}), [])
equal(len(find(client, study_filter=lambda each: each.uid == "2.25.100")), 1)
with tempfile.TemporaryFile() as output:
    study.download(output)
    equal(len(zipfile.ZipFile(output).namelist()), 4)


async def count():
    async with AsyncOrthanc(url) as other:
        return len(await other.get_studies())


equal(asyncio.run(count()), 2)

# Labels, metadata, attachments
study.add_label("seen")
equal([each.id_ for each in find_studies(client, labels=["seen"])], [study.id_])
study.remove_label("seen")
equal(find_studies(client, labels="seen"), [])
client.put_studies_id_metadata_name(study.id_, "sample", b"value")
equal(client.get_studies_id_metadata_name(study.id_, "sample"), "value")
client.put_studies_id_attachments_name(study.id_, "report", b"%PDF-1.4")
equal(client.get_studies_id_attachments_name_data(study.id_, "report"), b"%PDF-1.4")

# Modify and anonymise, at once and as jobs
anonymous = study.anonymize(replace={"PatientName": "Anon"}, keep=["StudyDescription"])
equal(anonymous.patient_information["PatientName"], "Anon")
job = study.modify_as_job(replace={"StudyDescription": "changed"})
job.wait_until_completion(time_interval=0.1)
equal((job.state, job.type, job.progress, job.error.value), (State.success, "ResourceModification", 100, 0))
assert job.creation_time <= job.completion_time and job.effective_runtime >= 0 and job.content["Description"]
single = pydicom.dcmread(io.BytesIO(instance.anonymize(replace={"PatientName": "Single"})))
equal(str(single.PatientName), "Single")
uid = {"SOPInstanceUID": "2.25.999"}
equal(pydicom.dcmread(io.BytesIO(instance.modify(replace=uid, force=True))).SOPInstanceUID, "2.25.999")

# Modalities
itself = Modality(client, "self")
assert itself.echo() and Modality(client, "pacs").echo()
equal(Modality(client, "offline").echo(), False)
query = itself.find({"Level": "Study", "Query": {"StudyInstanceUID": "2.25.100"}})
equal([each["PatientID"] for each in itself.get_query_answers(query["ID"])], ["P1"])
itself.move(query["ID"], {"TargetAet": "ISEN"})
itself.get("Study", {"StudyInstanceUID": "2.25.100"})
equal(Modality(client, "pacs").store(study.id_)["FailedInstancesCount"], 0)
util.delete_queries(client)
equal(client.get_queries(), [])
assert all(isinstance(Job(each, client).state, State) for each in client.get_jobs())

# Delete
for each in client.get_studies():
    client.delete_studies_id(each)
equal(client.get_statistics()["CountInstances"], 0)
