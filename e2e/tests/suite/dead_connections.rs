//! Connections that go dead without being closed, as behind a firewall that forgets them: new ones work.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{App, NewJob};
use lab::proxy::Proxy;
use stack::Stack;

const PATIENCE: Duration = Duration::from_secs(180);

#[tokio::test]
async fn a_worker_whose_connections_to_its_database_go_dead_keeps_its_leases() {
    let proxies: Arc<Mutex<Vec<Proxy>>> = Arc::default();
    let kept = proxies.clone();
    let route = move |name: &str, url: &str| {
        if name != "job-mongo" {
            return url.to_owned();
        }
        let proxy = Proxy::start(url, &[]).unwrap();
        let url = proxy.url();
        kept.lock().unwrap().push(proxy);
        url
    };
    let app = App::start(Stack::builder().api(1).workers(2).env("LEASE_S", 20).route(route)).await;
    let job = app.create(&NewJob::sleep(35.0)).await;
    app.running(&job).await;
    proxies.lock().unwrap()[0].black_hole();
    let ended = app.ended_within(&job, PATIENCE).await;
    assert_eq!(ended.attempt, 1, "{ended:?}");
}
