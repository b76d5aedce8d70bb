"""Checks of Schemathesis for a server that answers some faults of its clients as Orthanc does: with a status of 500."""

import schemathesis

# OrthancStatus of faults of clients and of others, for which Orthanc has a 5xx: not implemented, network, incompatible images, an unknown tag,
# a modality that does not offer a service.
OF_OTHERS = {2, 9, 23, 24, 27, 2015, 2016, 2017, 2018}


@schemathesis.check
def no_fault_of_the_server(ctx, response, case):
    if response.status_code < 500 or response.status_code in (503, 507):
        return
    body = response.json()
    assert body["OrthancStatus"] in OF_OTHERS, f"{response.status_code}: {body}"
