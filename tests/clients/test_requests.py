"""huggingface_hub's calls for access requests, unmodified: programs of reviewers and admins list, accept, reject and grant."""

import json
import urllib.request

from conftest import GATED


def test_a_reviewer_decides_with_the_library(hub, portal):
    for name in ("paul", "petra"):
        portal.sluice("user", "add", f"{name}@university.edu", "--name", name.title())
    portal.sluice("user", "add", "tina@lab.example", "--name", "Tina", "--role", "reviewer")
    token = portal.sluice("token", "add", "tina@lab.example", "--scope", "review")
    code = f"""
from huggingface_hub import HfApi
api = HfApi()
print([request.username for request in api.list_pending_access_requests("{GATED}")])
api.grant_access("{GATED}", "paul@university.edu")
accepted = [request for request in api.list_accepted_access_requests("{GATED}") if request.username == "paul@university.edu"]
print(accepted[0].fullname, accepted[0].email, accepted[0].status, accepted[0].timestamp.year > 2000)
print([request.username for request in api.list_rejected_access_requests("{GATED}")])
try:
    api.accept_access_request("{GATED}", "petra@university.edu")
except Exception as error:
    print(type(error).__name__, error.response.status_code)
"""
    said = hub.python(code, token).splitlines()
    assert said[0] == "[]" and said[1] == "Paul paul@university.edu accepted True" and said[2] == "[]", said
    assert said[3].endswith("404"), said
    whoami = urllib.request.Request(f"{portal.url}/api/whoami-v2", headers={"Authorization": f"Bearer {token}"})
    assert json.load(urllib.request.urlopen(whoami))["auth"]["accessToken"]["role"] == "write"


SUMMARY = "We ask how the model's errors on negated statements change with its size. " * 6
ANSWERS = {
    "role": "academic",
    "organisation": "University of Turin",
    "country": "IT",
    "title": "Negation in language models",
    "summary": SUMMARY,
    "lay_summary": "Language models often overlook the word not. We measure when that happens, and what helps against it.",
    "areas": "interpretability",
    "uses_evaluation": "on",
    "months": "6",
    "commercial": "no",
    "derived_weights": "none",
    "storage_kind": "institution",
    "storage_location": "The university's cluster",
    "controls_accounts": "on",
    "security_contact": "security@unito.it",
    "capacity": "self",
}


def applies(portal, name):
    """Somebody applies for the gated model, as any program of theirs may."""
    portal.sluice("user", "add", f"{name}@university.edu", "--name", name.title())
    token = portal.sluice("token", "add", f"{name}@university.edu", "--scope", "apply")

    def asks(path, body=None):
        data = json.dumps(body).encode() if body else None
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return json.load(urllib.request.urlopen(urllib.request.Request(f"{portal.url}/api/v1/models/{GATED}/{path}", data, headers)))

    told = asks("form")
    agreed = {clause["field"]: "on" for clause in told["form"]["clauses"]}
    assert asks("application", {"answers": told["answers"] | ANSWERS | agreed})["application"]["state"] == "submitted"


def test_an_admin_decides_on_real_applications_with_the_library(hub, portal):
    for name in ("alba", "bruno"):
        applies(portal, name)
    portal.sluice("user", "add", "carla@university.edu", "--name", "Carla")
    portal.sluice("user", "add", "rosa@lab.example", "--name", "Rosa", "--role", "admin")
    code = f"""
from huggingface_hub import HfApi
api = HfApi()
ours = ("alba@university.edu", "bruno@university.edu", "carla@university.edu")
names = lambda requests: [request.username.split("@")[0] for request in requests if request.username in ours]
lists = lambda: (names(getattr(api, f"list_{{state}}_access_requests")("{GATED}")) for state in ("pending", "accepted", "rejected"))
pending = [request for request in api.list_pending_access_requests("{GATED}") if request.username in ours]
print([request.fullname for request in pending], pending[0].fields["Your role"], pending[0].fields["Country"])
print(*lists())
api.accept_access_request("{GATED}", "alba@university.edu")
api.reject_access_request("{GATED}", "bruno@university.edu", rejection_reason="Bitte sag uns, wo die Gewichte liegen: für wen?")
api.grant_access("{GATED}", "carla@university.edu")
print(*lists())
try:
    api.accept_access_request("{GATED}", "alba@university.edu")
except Exception as error:
    print(error.response.status_code, str(error).splitlines()[-1])
"""
    said = hub.python(code, portal.sluice("token", "add", "rosa@lab.example", "--scope", "review")).splitlines()
    assert said[0] == "['Alba', 'Bruno'] Academic staff Italy", said
    assert said[1] == "['alba', 'bruno'] [] []", said
    pending, accepted, rejected = said[2].split("] ")
    assert (pending, sorted(accepted.strip("[").split(", ")), rejected) == ("[", ["'alba'", "'carla'"], "['bruno']"), said
    assert said[3].startswith("409 Rosa has approved this application") and f"Look at the case again: {portal.url}/review/" in said[3], said

    # The scope is the reviewers': what runs the portal alone does not decide, and is told how to.
    code = f"""
from huggingface_hub import HfApi
try:
    list(HfApi().list_pending_access_requests("{GATED}"))
except Exception as error:
    print(error.response.status_code, str(error).splitlines()[-1])
"""
    said = hub.python(code, portal.sluice("token", "add", "rosa@lab.example", "--scope", "admin"))
    assert said.startswith("403 ") and f"scope review. Make such a token: {portal.url}/account/tokens" in said, said
