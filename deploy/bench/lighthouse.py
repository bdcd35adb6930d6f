"""What Lighthouse says of the pages that people use most: lighthouse.py BASE_URL DATABASE_SOCKET LIGHTHOUSE. Prints a table."""

import json
import os
import subprocess
import sys
import tempfile

from desk import printed, sign_in, sql

CATEGORIES = ["performance", "accessibility", "best-practices"]


def scores(lighthouse, url, cookie):
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        asked = [lighthouse, url, f"--only-categories={','.join(CATEGORIES)}", "--output=json", f"--output-path={report.name}", "--quiet"]
        asked.append("--chrome-flags=--headless=new --no-sandbox")
        if cookie:
            asked.append(f"--extra-headers={json.dumps({'Cookie': cookie})}")
        subprocess.run(asked, check=True, env=os.environ)
        said = json.load(report)
    weight = said["audits"]["total-byte-weight"]["numericValue"] / 1000
    assert said["finalDisplayedUrl"] == url, f"{url} led to {said['finalDisplayedUrl']}"
    return [round(said["categories"][category]["score"] * 100) for category in CATEGORIES], weight


def main(base, socket, lighthouse):
    (waiting, applicant), = sql(socket, "select id, account_id from application where state = 'submitted' and claimed_by is null limit 1")
    account = lambda where: sql(socket, f"select id from account where {where} limit 1")[0][0]  # noqa: E731
    grace, root, ada = sign_in(socket, [account("role = 'reviewer'"), account("email = 'root@lab.example'"), applicant])
    model = "/sluice/opt-verse-6m-gated"
    pages = [
        ("home", "/", None),
        ("a model", model, None),
        ("the form", f"{model}/apply", root),
        ("the applicant's page", f"/applications/{printed('app', waiting)}", ada),
        ("the queue", "/review", grace),
        ("a case", f"/review/{printed('app', waiting)}", grace),
        ("the playground", "/playground", ada),
        ("statistics", "/admin/statistics", root),
        ("the record", "/admin/audit", root),
        ("people", "/admin/people", root),
        ("the interface for programs", "/api/docs/review", None),
    ]
    print("| page | performance | accessibility | best practices | all it loads |")
    print("|---|---|---|---|---|")
    for name, path, cookie in pages:
        (performance, accessibility, practices), weight = scores(lighthouse, base + path, cookie)
        print(f"| {name} | {performance} | {accessibility} | {practices} | {weight:.0f} kB |", flush=True)


main(*sys.argv[1:])
