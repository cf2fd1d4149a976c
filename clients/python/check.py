"""Uses the Python client in earnest: creates, waits, lists all pages, cancels, and meets problems by their code.

Usage: check.py ADDRESS; fails where an answer is another one than expected.
"""

import sys
import uuid

from hasty_client import Client
from hasty_client.api.jobs import cancel_job, create_job, create_jobs, delete_job, get_job, list_jobs, retry_job
from hasty_client.api.kinds import list_kinds
from hasty_client.api.users import count_users, create_user, delete_user, get_user, list_users, patch_user, put_user
from hasty_client.models import Cancel, Job, NewJob, NewJobOfBatch, NewJobPayload, NewJobs, NewUser, Problem, Status, User, UserChange

client = Client(base_url=sys.argv[1], timeout=75)
queue = f"python-{uuid.uuid4()}"


def code(answer):
    assert isinstance(answer, Problem), answer
    return answer.code


def new_job(kind, payload=None, **fields):
    return NewJob(kind=kind, payload=NewJobPayload.from_dict(payload or {}), **fields)


# Creates a job, once, and waits for its end.
shuffle = new_job("shuffle", {"text": "hasty", "pause_s": 0})
key = str(uuid.uuid4())
job = create_job.sync(client=client, body=shuffle, idempotency_key=key)
again = create_job.sync(client=client, body=shuffle, idempotency_key=key)
assert isinstance(job, Job) and again.id == job.id, (job, again)
ended = get_job.sync(job.id, client=client, wait_s=60)
assert ended.status is Status.FINISHED and sorted(ended.result["text"]) == sorted("hasty"), ended

# Lists all pages.
many = NewJobs(jobs=[NewJobOfBatch(kind="noop", queue=queue) for _ in range(5)])
created = create_jobs.sync(client=client, body=many)
wanted = {result.job.id for result in created.results}
found, token = [], ""
while True:
    page = list_jobs.sync(client=client, queue=queue, page_size=2, page_token=token)
    found += [job.id for job in page.jobs]
    token = page.next_page_token
    if not token:
        break
assert len(found) == 5 and set(found) == wanted, (found, wanted)

# Cancels.
waiting = create_job.sync(client=client, body=new_job("noop", queue=queue))
cancel_job.sync(waiting.id, client=client, body=Cancel(reason="not needed"))
ended = get_job.sync(waiting.id, client=client, wait_s=60)
assert ended.status is Status.CANCELLED and ended.cancel_reason == "not needed", ended

# Each problem has its code.
object_id = str(uuid.uuid4())
create_job.sync(client=client, body=new_job("noop", object_id=object_id))
other = new_job("noop", object_id=object_id)
assert code(create_job.sync(client=client, body=other)) == "duplicate_object"
assert code(create_job.sync(client=client, body=new_job("noop"), idempotency_key=key)) == "idempotency_key_reused"
wrong = create_job.sync(client=client, body=new_job("sleep", {"min_s": -1}))
assert code(wrong) == "invalid_field" and wrong.errors[0].field == "payload.min_s", wrong
assert code(list_jobs.sync(client=client, page_size=0)) == "invalid_parameter"
assert code(get_job.sync(uuid.uuid4(), client=client)) == "job_not_found"
assert code(cancel_job.sync(job.id, client=client)) == "already_ended"
unended = create_job.sync(client=client, body=new_job("noop", queue=queue))
assert code(retry_job.sync(unended.id, client=client)) == "not_ended"
assert code(delete_job.sync(unended.id, client=client)) == "not_ended"
delete_job.sync_detailed(job.id, client=client)
assert code(create_job.sync(client=client, body=shuffle, idempotency_key=key)) == "job_gone"

# Users: created once, changed in the state that was read, listed, deleted.
name = f"python-{uuid.uuid4()}"
wish = NewUser(name=name, email=f"{uuid.uuid4()}@example.org", group=7)
key = str(uuid.uuid4())
user = create_user.sync(client=client, body=wish, idempotency_key=key)
again = create_user.sync(client=client, body=wish, idempotency_key=key)
assert isinstance(user, User) and again == user, (user, again)
assert code(create_user.sync(client=client, body=wish)) == "email_taken"
tag = get_user.sync_detailed(user.id, client=client).headers["ETag"]
changed = patch_user.sync(user.id, client=client, body=UserChange(group=8), if_match=tag)
assert (changed.group, changed.name) == (8, name), changed
assert code(put_user.sync(user.id, client=client, body=wish, if_match=tag)) == "precondition_failed"
assert [found.id for found in list_users.sync(client=client, name_prefix=name).users] == [user.id]
assert count_users.sync(client=client, name_prefix=name, group=7).count == 0
delete_user.sync_detailed(user.id, client=client)
assert code(get_user.sync(user.id, client=client)) == "user_not_found"
assert code(create_user.sync(client=client, body=wish, idempotency_key=key)) == "user_gone"

kinds = {kind.kind: kind for kind in list_kinds.sync(client=client).kinds}
assert kinds["sleep"].payload_schema["properties"]["min_s"]["default"] == 15, kinds
print("all as expected")
