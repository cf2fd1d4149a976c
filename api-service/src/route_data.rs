//! What the routes need, handed in beside them.

use actix_web::web::Data;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::{
    jobs::{Creator, Jobs, Lifecycle},
    legacy::WorkSettings,
    live::{Logs, Progresses},
    outbox::Backlog,
    queues::Queues,
    schedules::Schedules,
    stats::SystemMetrics,
    transfer::Transfer,
    users::Users,
    workers::Workers,
};

/// What the routes need; a line a domain.
#[derive(Clone)]
pub(crate) struct RouteData {
    pub(crate) creator: Data<Creator>,
    pub(crate) jobs: Data<Jobs>,
    pub(crate) lifecycle: Data<Lifecycle>,
    pub(crate) queues: Data<Queues>,
    pub(crate) workers: Data<Workers>,
    pub(crate) backlog: Data<Backlog>,
    pub(crate) work: Data<WorkSettings>,
    pub(crate) users: Data<Users>,
    pub(crate) schedules: Data<Schedules>,
    pub(crate) transfer: Data<Transfer>,
    pub(crate) progresses: Data<Progresses>,
    pub(crate) logs: Data<Logs>,
    pub(crate) system: Data<SystemMetrics>,
}

/// The routes, and what they need.
pub(crate) fn routes(data: RouteData) -> impl Fn(&mut ServiceConfig<'_>) + Clone + Send + 'static {
    move |app| {
        let RouteData {
            creator,
            jobs,
            lifecycle,
            queues,
            workers,
            backlog,
            work,
            users,
            schedules,
            transfer,
            progresses,
            logs,
            system,
        } = data.clone();
        app.app_data(creator).app_data(jobs).app_data(lifecycle);
        app.app_data(queues).app_data(workers).app_data(backlog).app_data(work);
        app.app_data(users).app_data(schedules).app_data(transfer);
        app.app_data(progresses).app_data(logs).app_data(system);
        crate::domains(app);
    }
}
