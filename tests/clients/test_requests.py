"""huggingface_hub's calls for access requests, unmodified: a reviewer's program lists, accepts, rejects and grants."""

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
