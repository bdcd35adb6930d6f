"""The real `openai` package against the real portal."""

import http.client
import json

import openai
import pytest

from conftest import GATED, OPEN


def client(portal, token):
    return openai.OpenAI(base_url=f"{portal.url}/v1", api_key=token, max_retries=0)


@pytest.fixture(scope="module")
def grace(portal):
    """A client of somebody who has an account and nothing more."""
    portal.sluice("user", "add", "grace@university.edu", "--name", "Grace")
    return client(portal, portal.sluice("token", "add", "grace@university.edu", "--scope", "api"))


def test_a_completion_comes_whole_and_repeats_with_its_seed(grace):
    ask = {"model": OPEN, "prompt": "The sea was", "max_tokens": 24, "temperature": 0.8, "top_p": 0.9, "seed": 7}
    first = grace.completions.create(**ask)
    assert first.object == "text_completion" and first.model == OPEN
    [choice] = first.choices
    assert len(choice.text) > 10 and choice.finish_reason in ("length", "stop")
    assert first.usage.completion_tokens <= 24
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    again = grace.completions.create(**ask)
    assert again.choices[0].text == choice.text and again.system_fingerprint == first.system_fingerprint


def test_a_stream_is_the_same_text_in_pieces(grace):
    ask = {"model": OPEN, "prompt": "The sea was", "max_tokens": 24, "temperature": 0.8, "seed": 7}
    whole = grace.completions.create(**ask)
    chunks = list(grace.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    pieces = [chunk.choices[0] for chunk in chunks[:-1]]
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces) == whole.choices[0].text
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == whole.choices[0].finish_reason


def test_prompts_in_every_shape_choices_and_logprobs(grace):
    batch = grace.completions.create(model=OPEN, prompt=["The sea", "A rose"], n=2, max_tokens=4, seed=1)
    assert [choice.index for choice in batch.choices] == [0, 1, 2, 3]
    scored = grace.completions.create(model=OPEN, prompt=[[2, 262, 947]], max_tokens=0, echo=True, logprobs=3)
    logprobs = scored.choices[0].logprobs
    assert logprobs.token_logprobs[0] is None and all(p <= 0 for p in logprobs.token_logprobs[1:])
    assert all(len(top) in (3, 4) for top in logprobs.top_logprobs[1:])
    best = grace.completions.create(model=OPEN, prompt="The sea", best_of=3, max_tokens=4)
    assert len(best.choices) == 1
    cut = grace.completions.create(model=OPEN, prompt="The sea was", max_tokens=60, temperature=0, stop=[","])
    assert "," not in cut.choices[0].text
    extra = grace.completions.create(model=OPEN, prompt="The sea", max_tokens=4, extra_body={"top_k": 1, "ignore_eos": True})
    greedy = grace.completions.create(model=OPEN, prompt="The sea", max_tokens=4, temperature=0, extra_body={"ignore_eos": True})
    assert extra.choices[0].text == greedy.choices[0].text
    nearly_greedy = grace.completions.create(model=OPEN, prompt="The sea", max_tokens=4, seed=1, extra_body={"min_p": 1, "ignore_eos": True})
    assert nearly_greedy.choices[0].text == greedy.choices[0].text


def test_where_an_answer_may_end(grace):
    ask = {"model": OPEN, "prompt": "The sea was", "temperature": 0, "max_tokens": 20, "logprobs": 0}
    free = grace.completions.create(**ask, extra_body={"ignore_eos": True}).choices[0]
    third = grace.post("/../tokenize", cast_to=object, body={"model": OPEN, "prompt": free.text, "add_special_tokens": False})["tokens"][2]
    stopped = grace.completions.create(**ask, extra_body={"stop_token_ids": [third]}).choices[0]
    assert stopped.finish_reason == "stop" and len(stopped.logprobs.tokens) <= 3
    assert free.text.startswith(stopped.text)
    longer = grace.completions.create(**ask, extra_body={"stop_token_ids": [third], "min_tokens": 10}).choices[0]
    assert len(longer.logprobs.tokens) >= 10
    varied = grace.completions.create(**{**ask, "max_tokens": 60}, extra_body={"repetition_penalty": 5.0, "ignore_eos": True}).choices[0]
    assert len(set(varied.logprobs.tokens)) > 50, "hardly anything comes twice"


def test_models_are_those_one_may_use(portal, grace):
    assert [model.id for model in grace.models.list()] == [OPEN]
    assert grace.models.retrieve(OPEN).owned_by == "sluice"
    portal.sluice("user", "add", "mary@university.edu", "--name", "Mary")
    portal.sluice("grant", "add", "mary@university.edu", GATED, "--reason", "client tests", "--days", "30")
    mary = client(portal, portal.sluice("token", "add", "mary@university.edu", "--scope", "api"))
    assert [model.id for model in mary.models.list()] == [OPEN, GATED]
    assert mary.completions.create(model=GATED, prompt="The sea", max_tokens=4).model == GATED


def test_refusals_are_the_exceptions_programs_expect(portal, grace):
    ask = {"model": OPEN, "prompt": "The sea", "max_tokens": 4}
    with pytest.raises(openai.AuthenticationError) as refused:
        client(portal, "slc_wrong").completions.create(**ask)
    assert refused.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError) as refused:
        grace.completions.create(**ask | {"model": GATED})
    assert refused.value.code == "no_application"
    assert f"{portal.url}/{GATED}/apply" in str(refused.value)
    downloads_only = client(portal, portal.sluice("token", "add", "grace@university.edu", "--scope", "download"))
    with pytest.raises(openai.PermissionDeniedError) as refused:
        downloads_only.completions.create(**ask)
    assert refused.value.code == "token_scope"
    with pytest.raises(openai.NotFoundError) as refused:
        grace.completions.create(**ask | {"model": "sluice/nothing"})
    assert refused.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as refused:
        grace.completions.create(**ask | {"max_tokens": 4000})
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as refused:
        grace.completions.create(**ask | {"suffix": "the end"})
    assert refused.value.param == "suffix"


def test_a_full_line_is_a_rate_limit_and_empties_when_readers_leave(portal, grace):
    portal.sluice("user", "add", "busy@university.edu", "--name", "Busy")
    token = portal.sluice("token", "add", "busy@university.edu", "--scope", "api")
    short = {"model": OPEN, "prompt": "The sea", "max_tokens": 4}
    # Each of these would take minutes; sixteen requests of one account may run and wait.
    long = {"model": OPEN, "prompt": ["The sea was"] * 32, "n": 4, "max_tokens": 480, "ignore_eos": True}
    sent = []

    def send_and_not_read():
        connection = http.client.HTTPConnection("127.0.0.1", portal.port)
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps(long), headers)
        sent.append(connection)

    for _ in range(15):
        send_and_not_read()
    refused = None
    while refused is None and len(sent) < 40:
        send_and_not_read()
        try:
            client(portal, token).with_options(timeout=2).completions.create(**short)
        except openai.RateLimitError as problem:
            refused = problem
        except openai.APITimeoutError:
            pass  # it waited in line: not all that was sent has arrived yet
    assert refused is not None and refused.code == "rate_limit_exceeded"
    assert int(refused.response.headers["retry-after"]) > 0
    assert grace.completions.create(**short).usage.completion_tokens <= 4, "others are not held up"
    for connection in sent:
        connection.close()
    patient = openai.OpenAI(base_url=f"{portal.url}/v1", api_key=token, max_retries=5, timeout=30)
    assert patient.completions.create(**short).usage.completion_tokens <= 4, "the line is empty again"
