"""Drives a server through orthanc-api-client as its users do. Arguments: the server's URL, and a folder with `study/*.dcm` (one study,
two series), `one.dcm` (another study) and `report.pdf`. The server knows the modalities `pacs` (stores), `self` (the server) and
`offline`, the peer `self`, the metadata `sample` and the attachment `report`; it checks revisions."""

import datetime
import io
import sys
import tempfile
import zipfile

from orthanc_api_client import InstancesSet, LabelsConstraint, OrthancApiClient, exceptions

url, folder = sys.argv[1:]
server = OrthancApiClient(url)


def equal(ours, expected):
    assert ours == expected, f"{ours!r} is not {expected!r}"


def fails(error, work):
    try:
        work()
    except error as thrown:
        return thrown
    raise AssertionError(f"{error.__name__} was expected")


# Who it is
assert server.is_alive()
assert server.is_orthanc_version_at_least(1, 12, 0)
assert server.capabilities.has_extended_find and server.capabilities.has_extended_changes
assert server.capabilities.has_label_support and server.capabilities.has_revision_support
equal(server.has_loaded_plugin("dicom-web"), False)
equal(server.get_metrics().get("orthanc_count_instances"), "0")

# Upload: files, folders, archives, what is no DICOM
equal(len(server.upload_file(f"{folder}/one.dcm")), 1)
equal(len(server.upload_folder(f"{folder}/study")), 4)
archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as made:
    made.write(f"{folder}/one.dcm", "a/b.dcm")
equal(len(server.upload(archive.getvalue())), 1)
fails(exceptions.BadFileFormat, lambda: server.upload(b"no DICOM"))
equal(server.upload(b"no DICOM", ignore_errors=True), [])
dicom_ids, study_ids, rejected = server.upload_folder_return_details(f"{folder}/study")
equal((dicom_ids, len(study_ids), rejected), ({"2.25.100"}, 1, []))
statistics = server.get_statistics()
equal((statistics.studies_count, statistics.series_count, statistics.instances_count), (2, 3, 5))

# Browse
study_id = server.studies.lookup("2.25.100")
equal(study_ids, {study_id})
equal(server.studies.lookup("1.2.3"), None)
study = server.studies.get(study_id)
equal((study.dicom_id, study.labels, study.statistics.instances_count), ("2.25.100", [], 4))
equal(study.patient_main_dicom_tags.get("PatientID"), "P1")
equal(sorted(len(series.instances) for series in study.series), [2, 2])
equal({series.main_dicom_tags.get("Modality") for series in study.series}, {"CT"})
instance_id = server.studies.get_first_instance_id(study_id)
equal(server.instances.get_parent_study_id(instance_id), study_id)
equal(server.instances.get_tags(instance_id)["PatientID"], "P1")
equal(server.instances.get_metadata(instance_id)["Origin"], "RestApi")
equal(len(server.studies.get_instances(study_id)), 4)
equal(server.instances.get_file(instance_id)[128:132], b"DICM")
equal((server.studies.exists(study_id), server.studies.exists("nope")), (True, False))
fails(exceptions.ResourceNotFound, lambda: server.studies.get("nope").info)

# Find
order = [{"Type": "Metadata", "Key": "LastUpdate", "Direction": "DESC"}]
requested = ["ModalitiesInStudy", "NumberOfStudyRelatedInstances"]
found = server.studies.find({"PatientID": "P*"}, order_by=order, requested_tags=requested, limit=10)
equal(sorted(each.requested_tags.get("NumberOfStudyRelatedInstances") for each in found), ["1", "4"])
equal([each.orthanc_id for each in server.studies.find({"PatientID": "p1"}, case_sensitive=False)], [study_id])
equal(server.studies.find({"PatientID": "p1"}, case_sensitive=True), [])
equal(len(server.studies.find({"PatientID": "P*"}, since=1, limit=5)), 1)

# Labels
server.studies.add_labels(study_id, ["A", "B"])
equal(sorted(server.studies.get_labels(study_id)), ["A", "B"])
for constraint, expected in ((LabelsConstraint.ANY, [study_id]), (LabelsConstraint.ALL, [])):
    labelled = server.studies.find({}, labels=["A", "nope"], labels_constraint=constraint)
    equal([each.orthanc_id for each in labelled], expected)
server.studies.delete_label(study_id, "A")
equal(server.get_all_labels(), ["B"])

# Metadata and attachments, with their revisions
equal(server.studies.get_string_metadata(study_id, "sample", default_value="none"), "none")
server.studies.set_string_metadata(study_id, "sample", "first")
value, revision = server.studies.get_string_metadata_with_revision(study_id, "sample")
equal(value, "first")
server.studies.set_string_metadata(study_id, "sample", "second", match_revision=revision)
fails(exceptions.Conflict, lambda: server.studies.set_string_metadata(study_id, "sample", "third", match_revision=revision))
equal(server.studies.get_string_metadata(study_id, "sample"), "second")
server.studies.set_attachment(study_id, "report", content=b"%PDF-1.4")
content, revision = server.studies.get_attachment_with_revision(study_id, "report")
equal(content, b"%PDF-1.4")
server.studies.set_attachment(study_id, "report", content=b"%PDF-1.5", match_revision=revision)
equal(server.studies.get_attachment(study_id, "report"), b"%PDF-1.5")

# Archives
with tempfile.TemporaryDirectory() as output:
    server.studies.download_archive(study_id, f"{output}/archive.zip")
    server.studies.download_media(study_id, f"{output}/media.zip")
    InstancesSet.from_study(server, study_id).download_archive(f"{output}/set.zip")
    for name, count in (("archive", 4), ("media", 5), ("set", 4)):
        with zipfile.ZipFile(f"{output}/{name}.zip") as made:
            equal((made.testzip(), len(made.namelist())), (None, count))

# Modify, anonymise, merge
anonymous = server.studies.anonymize(
    study_id, replace_tags={"PatientName": "Anon"}, keep_tags=["StudyDescription"], delete_original=False
)
equal(server.studies.get(anonymous).patient_main_dicom_tags.get("PatientName"), "Anon")
modified = server.studies.modify(study_id, replace_tags={"StudyDescription": "changed"}, delete_original=False)
equal(server.studies.get(modified).main_dicom_tags.get("StudyDescription"), "changed")
equal(server.instances.modify(instance_id, replace_tags={"InstitutionName": "X"})[128:132], b"DICM")
server.studies.merge(target_study_id=anonymous, source_series_id=server.studies.get_series_ids(modified)[0], keep_source=True)
equal(len(server.studies.get_series_ids(anonymous)), 3)
InstancesSet.from_study(server, modified).delete()
equal(server.studies.exists(modified), False)

# Create
document = server.create_pdf(f"{folder}/report.pdf", {"PatientID": "P9", "PatientName": "Report", "StudyDescription": "x"})
assert server.instances.is_pdf(document)
attached = server.studies.attach_pdf(
    server.instances.get_parent_study_id(document), f"{folder}/report.pdf", "reports", datetime.datetime.now()
)
with tempfile.TemporaryDirectory() as output, open(f"{folder}/report.pdf", "rb") as original:
    server.instances.download_pdf(attached, f"{output}/report.pdf")
    with open(f"{output}/report.pdf", "rb") as copy:
        assert copy.read().startswith(original.read())

# Modalities, queries, retrievals, jobs
equal(server.modalities.get_id_from_aet("ISEN"), "self")
server.modalities.send("pacs", study_id, timeout=60)
job = server.modalities.send_async("pacs", [study_id])
assert job.wait_completed(timeout=60, polling_interval=0.1)
equal((job.info.status, job.info.type, job.content["InstancesCount"]), ("Success", "DicomModalityStore", 4))
remote = server.modalities.query_studies("self", {"StudyInstanceUID": "2.25.100"})
equal([each.dicom_id for each in remote], ["2.25.100"])
series = server.modalities.query_series("self", {"StudyInstanceUID": "2.25.100"})
equal(len(series), 2)
query = {"StudyInstanceUID": "2.25.100", "SeriesInstanceUID": series[0].dicom_id}
equal(len(server.modalities.query_instances("self", query)), 2)
equal(server.modalities.retrieve_study("self", "2.25.100"), study_id)
server.modalities.get_study("self", "2.25.100")
fails(exceptions.HttpError, lambda: server.modalities.send("offline", study_id))
assert job.orthanc_id in server.jobs.get_all_ids()
fails(exceptions.ResourceNotFound, lambda: server.jobs.get("nope").info)

# Changes, peers, the log
changes, last, done = server.get_changes(since=0, limit=3)
equal((len(changes), done), (3, False))
changes, _, done = server.get_changes(since=last, limit=1000)
assert done and "NewStudy" in {change.change_type for change in changes}
server.peers.send(target_peer="self", resources_ids=study_id)
server.set_log_level(server.get_log_level())
fails(exceptions.Forbidden, lambda: server.execute_lua_script(b"print(1)"))

# Delete
server.studies.delete(study_id)
server.studies.delete(study_id, ignore_errors=True)
server.delete_all_content()
equal(server.get_statistics().studies_count, 0)
