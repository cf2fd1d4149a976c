"""Creates a job with the client that `clients/python/generate` makes, and waits for its end."""

import sys

from hasty_client import Client
from hasty_client.api.jobs import create_job, get_job
from hasty_client.models import NewJob, NewJobPayload

client = Client(base_url=sys.argv[1], timeout=75)
payload = NewJobPayload.from_dict({"text": "hasty", "pause_s": 0})
job = create_job.sync(client=client, body=NewJob(kind="shuffle", payload=payload), idempotency_key="example-1")
ended = get_job.sync(job.id, client=client, wait_s=60)
print(ended.status, ended.result)
