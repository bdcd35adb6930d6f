"""`hf` and huggingface_hub, unmodified."""

import filecmp
import json
import signal

from conftest import GATED, OPEN
from hub import same_files


def test_an_open_model_is_downloaded_without_an_account(hub, demo):
    hub.hf("download", OPEN)
    same_files(hub.snapshot(), demo)


def test_a_gated_model_is_downloaded_by_who_may_have_it(hub, token, demo):
    hub.hf("download", GATED, "--local-dir", str(hub.folder / "model"), token=token)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert filecmp.cmp(hub.folder / "model" / name, demo / name, shallow=False), name


def test_a_refusal_says_what_is_missing_and_where_to_go(hub, portal, stranger):
    said = hub.hf("download", GATED, token=stranger, status=1)
    assert "needs an approved application" in said and f"{portal.url}/{GATED}/apply" in said, said
    said = hub.hf("download", GATED, status=1)
    assert f"{portal.url}/{GATED}" in said, said


def test_the_library_raises_the_exception_that_fits(hub, portal, token, stranger):
    code = """
from huggingface_hub import HfApi, hf_hub_download
def raised(call):
    try: call()
    except Exception as error: return type(error).__name__, str(error)
    return "nothing", ""
api = HfApi()
for call in CALLS: print(*raised(call), sep="|", end="\\n--\\n")
"""

    def raised(calls, token=None):
        said = hub.python(code.replace("CALLS", calls), token)
        return [tuple(part.strip().split("|", 1)) for part in said.split("\n--") if part.strip()]

    [(kind, text)] = raised(f"[lambda: hf_hub_download('{GATED}', 'model.safetensors')]", stranger)
    assert kind == "GatedRepoError" and "needs an approved application" in text and f"{portal.url}/{GATED}/apply" in text
    [(kind, text)] = raised(f"[lambda: hf_hub_download('{GATED}', 'model.safetensors')]")
    assert kind == "GatedRepoError" and "Please log in" in text
    calls = f"""[
        lambda: api.auth_check('{GATED}'),
        lambda: api.model_info('sluice/none'),
        lambda: api.model_info('{OPEN}', revision='v9'),
        lambda: hf_hub_download('{OPEN}', 'none.json'),
        lambda: hf_hub_download('{OPEN}', 'config.json', revision='v9'),
        lambda: list(api.list_repo_tree('{OPEN}', 'nowhere')),
    ]"""
    kinds = [kind for kind, _ in raised(calls, stranger)]
    assert kinds[:3] == ["GatedRepoError", "RepositoryNotFoundError", "RevisionNotFoundError"], kinds
    assert kinds[3] in ("EntryNotFoundError", "RemoteEntryNotFoundError") and kinds[4] == "RevisionNotFoundError", kinds
    assert kinds[5] in ("EntryNotFoundError", "RemoteEntryNotFoundError"), kinds
    [(kind, _)] = raised("[lambda: api.model_info('sluice/none')]")
    assert kind == "RepositoryNotFoundError"
    [(kind, text)] = raised(f"[lambda: api.model_info('{OPEN}')]", "slc_nonsense")
    assert kind == "HfHubHTTPError" and "Invalid credentials" in text
    [(kind, text)] = raised("[lambda: api.whoami()]", "slc_nonsense")
    assert "Invalid user token" in text
    assert raised(f"[lambda: api.auth_check('{GATED}')]", token)[0][0] == "nothing"


def test_the_library_reads_every_listing(hub, token, demo):
    code = f"""
import json
from huggingface_hub import HfApi
api = HfApi()
info = api.model_info("{GATED}", files_metadata=True)
tree = list(api.list_repo_tree("{GATED}", recursive=True, expand=True))
refs = api.list_repo_refs("{GATED}", include_pull_requests=True)
print(json.dumps(dict(
    sha=info.sha, gated=info.gated, modified=info.last_modified.isoformat(),
    weights=[s.lfs.sha256 for s in info.siblings if s.rfilename == "model.safetensors"],
    tree=[[e.path, e.size, e.last_commit.oid] for e in tree],
    files=api.list_repo_files("{GATED}"),
    paths=[e.path for e in api.get_paths_info("{GATED}", ["config.json", "none"], expand=True)],
    main=refs.branches[0].target_commit,
    commits=[c.commit_id for c in api.list_repo_commits("{GATED}")],
    models=sorted(m.id for m in api.list_models(author="sluice", gated=True)),
    exists=[api.file_exists("{GATED}", "config.json"), api.file_exists("{GATED}", "none"), api.repo_exists("sluice/none")],
    me=api.whoami()["name"],
)))
"""
    told = json.loads(hub.python(code, token))
    assert len(told["sha"]) == 40 and told["gated"] == "manual" and told["main"] == told["sha"] and told["commits"] == [told["sha"]]
    assert told["me"] == "ada@university.edu" and told["models"] == [GATED]
    assert told["exists"] == [True, False, False] and told["paths"] == ["config.json"]
    assert sorted(path for path, _, _ in told["tree"]) == sorted(told["files"])
    assert ["model.safetensors", (demo / "model.safetensors").stat().st_size, told["sha"]] in told["tree"]


def test_a_second_download_fetches_nothing(hub, relay):
    hub.endpoint = relay.url
    hub.hf("download", OPEN)
    assert relay.asked("GET", "/resolve/")
    relay.requests.clear()
    hub.hf("download", OPEN)
    assert relay.requests and not relay.asked("GET", "/resolve/") and not relay.asked("HEAD", "/resolve/"), relay.requests


def test_a_killed_download_is_finished_by_the_next(hub, relay, demo):
    hub.endpoint = relay.url
    hub.hf("download", OPEN, "config.json", "tokenizer.json")
    relay.stall_after(6_000_000)
    running = hub.start("download", OPEN)
    assert relay.stalled.wait(timeout=60)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    # Which of the other small files were complete when the kill came is chance; the weights are larger than what was let through.
    complete = {path.name for path in hub.snapshot().iterdir()}
    assert complete >= {"config.json", "tokenizer.json"} and "model.safetensors" not in complete
    relay.requests.clear()
    relay.stall_after(None)
    hub.hf("download", OPEN)
    same_files(hub.snapshot(), demo)
    fetched = {path.rsplit("/", 1)[-1] for path in relay.asked("GET", "/resolve/")}
    assert "model.safetensors" in fetched and not fetched & complete, (fetched, complete)


def test_what_was_downloaded_is_what_was_published(hub, token):
    hub.hf("download", GATED, token=token)
    said = hub.hf("cache", "verify", GATED, token=token)
    assert "erified" in said, said
    weights = next(path for path in hub.cache.rglob("model.safetensors"))
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.resolve().write_bytes(damaged)
    said = hub.hf("cache", "verify", GATED, token=token, status=1)
    assert "verification failed" in said and "model.safetensors" in said, said


def test_hf_knows_whose_token_it_has(hub, token):
    assert "ada@university.edu" in hub.hf("auth", "whoami", token=token)
    hub.hf("auth", "login", "--token", token)
    assert "ada@university.edu" in hub.hf("auth", "whoami")
    assert "Invalid" in hub.hf("auth", "whoami", token="slc_nonsense", status=1)


def test_a_tokenizer_is_loaded_by_name(hub, token):
    code = f"""
from tokenizers import Tokenizer
print(Tokenizer.from_pretrained("{GATED}", token="{token}").encode("The sea").ids)
"""
    assert json.loads(hub.python(code))


def test_access_that_was_taken_back_ends_at_the_next_request(hub, portal, token):
    portal.sluice("user", "add", "bob@university.edu", "--name", "Bob")
    portal.sluice("grant", "add", "bob@university.edu", GATED, "--reason", "client tests", "--days", "30")
    bob = portal.sluice("token", "add", "bob@university.edu", "--scope", "download")
    hub.hf("download", GATED, "config.json", token=bob)
    portal.sluice("grant", "revoke", "bob@university.edu", GATED, "--reason", "client tests")
    said = hub.hf("download", GATED, "model.safetensors", token=bob, status=1)
    assert "was revoked" in said, said
