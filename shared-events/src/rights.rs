//! What each service does on NATS: the subjects that its user must be allowed. `nats/users.conf` gives exactly these.

/// The subjects of a user; `*` and `>` as NATS has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// What it may publish to.
    pub publish: &'static [&'static str],
    /// What it may subscribe to.
    pub subscribe: &'static [&'static str],
}

/// The api-service's.
pub const API_SERVICE: Rights = Rights {
    publish: &[
        "job:created.*.*",
        "job:cancel.*",
        "job:changed",
        "job:ended",
        "job:logs",
        "worker:control",
        "worker:echo",
        "$SYS.REQ.USER.INFO",
        "$JS.API.STREAM.INFO.*",
        "$JS.API.STREAM.CREATE.JOBS",
        "$JS.API.STREAM.CREATE.JOB_EVENTS",
        "$JS.API.STREAM.CREATE.JOB_CONTROL",
        "$JS.API.STREAM.UPDATE.JOBS",
        "$JS.API.STREAM.UPDATE.JOB_EVENTS",
        "$JS.API.STREAM.UPDATE.JOB_CONTROL",
        "$JS.API.CONSUMER.INFO.JOB_EVENTS.api-service",
        "$JS.API.CONSUMER.CREATE.JOB_EVENTS.api-service",
        "$JS.API.CONSUMER.MSG.NEXT.JOB_EVENTS.api-service",
        "$JS.ACK.JOB_EVENTS.api-service.>",
        "$JS.API.STREAM.PURGE.JOB_EVENTS",
        "$JS.API.STREAM.MSG.GET.JOBS",
    ],
    subscribe: &[
        "_INBOX_api-service.>",
        "job:changed",
        "job:ended",
        "job:progress",
        "worker:heartbeat",
        "worker:echo",
    ],
};

/// The job-service's.
pub const JOB_SERVICE: Rights = Rights {
    publish: &[
        "job:started.*",
        "job:retrying.*",
        "job:finished.*",
        "job:failed.*",
        "job:cancelled.*",
        "job:stop",
        "job:progress",
        "worker:heartbeat",
        "$SYS.REQ.USER.INFO",
        "$JS.API.STREAM.INFO.*",
        "$JS.API.STREAM.CREATE.JOBS",
        "$JS.API.STREAM.CREATE.JOB_EVENTS",
        "$JS.API.STREAM.CREATE.JOB_CONTROL",
        "$JS.API.STREAM.UPDATE.JOBS",
        "$JS.API.STREAM.UPDATE.JOB_EVENTS",
        "$JS.API.STREAM.UPDATE.JOB_CONTROL",
        "$JS.API.CONSUMER.INFO.JOBS.*",
        "$JS.API.CONSUMER.CREATE.JOBS.>",
        "$JS.API.CONSUMER.MSG.NEXT.JOBS.*",
        "$JS.ACK.JOBS.>",
        "$JS.API.CONSUMER.INFO.JOB_CONTROL.job-service",
        "$JS.API.CONSUMER.CREATE.JOB_CONTROL.job-service",
        "$JS.API.CONSUMER.MSG.NEXT.JOB_CONTROL.job-service",
        "$JS.ACK.JOB_CONTROL.job-service.>",
        "$JS.API.STREAM.PURGE.JOBS",
        "$JS.API.STREAM.PURGE.JOB_CONTROL",
        "$JS.API.CONSUMER.DELETE.JOBS.*",
        "$JS.API.CONSUMER.DELETE.JOB_CONTROL.job-service",
    ],
    subscribe: &["_INBOX_job-service.>", "job:stop", "job:logs", "worker:control"],
};
