"""What schemathesis can not know of the API's document (e2e/schemathesis)."""

import json
import pathlib
import uuid

import schemathesis

DOCUMENT = json.loads((pathlib.Path(__file__).parent.parent / "docs/openapi.json").read_text())
CREATE = DOCUMENT["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]
PAYLOADS = {kind: example["value"]["payload"] for kind, example in CREATE["examples"].items()}


@schemathesis.serializer("application/x-ndjson")
def lines(context, value):
    """Lines are a text as it stands."""
    return value.encode() if isinstance(value, str) else json.dumps(value).encode()


@schemathesis.hook
def before_call(context, case, **kwargs):
    """Mends requests that are not what they are taken for."""
    if case.meta is None:
        return
    if case.meta.generation.mode.is_positive:
        mend_what_no_schema_says(case)
    elif (case.headers or {}).get("Idempotency-Key") == "":
        # nginx hands on no header that is empty: to the service it is as if there were none.
        case.headers["Idempotency-Key"] = "x" * 257


def mend_what_no_schema_says(case):
    """By the schemas these are right; they are refused for what happened before, or for what goes with what."""
    body = case.body if isinstance(case.body, dict) else {}
    jobs = [job for job in body.get("jobs") or [body] if isinstance(job, dict)]
    for job in jobs:
        # The payload of a kind that every worker knows has a schema of its own: GET /v1/kinds.
        if isinstance(job.get("kind"), str) and job["kind"] in PAYLOADS:
            job["payload"] = PAYLOADS[job["kind"]]
        mend_its_time(job)
    if case.path == "/v1/import" and not (case.body if isinstance(case.body, str) else "").strip():
        # There has to be a line.
        case.body = '{"end":{}}'
    if (case.headers or {}).get("Idempotency-Key"):
        # A key that was used for another request is refused; so are keys of jobs beside one of their batch.
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
        for job in jobs:
            job.pop("idempotency_key", None)
    if (case.headers or {}).get("If-Match"):
        # A user has another tag than any that is made up.
        case.headers["If-Match"] = "*"
    if (case.headers or {}).get("If-None-Match") and case.method not in ("GET", "HEAD"):
        case.headers["If-None-Match"] = '"made-up"'
    if case.query and "page_token" in case.query:
        # A token is good for the filters that it was given out for.
        case.query["page_token"] = ""
    if case.path == "/" and "object_id" in body:
        # The older system answers 400 to an object that has had a job.
        body["object_id"] = str(uuid.uuid4())


def mend_its_time(job):
    """A time stands alone and is within a year, and the longest pause is not below the first."""
    if "run_at" in job:
        job.pop("delay_s", None)
        job["run_at"] = "2020-01-01T00:00:00Z" if job["run_at"] else job["run_at"]
    if isinstance(job.get("retry"), dict) and job["retry"].get("base_s") is not None:
        job["retry"]["max_s"] = 604800
