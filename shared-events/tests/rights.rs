//! `nats/users.conf` allows each service what it does, and nothing else.

use std::collections::BTreeSet;

use shared_events::rights::{API_SERVICE, JOB_SERVICE, Rights};

/// The subjects in quotes between `name: [` and `]`.
fn subjects<'a>(user: &'a str, name: &str) -> BTreeSet<&'a str> {
    let start = user.find(&format!("{name}: [")).expect(name);
    let list = &user[start..][..user[start..].find(']').expect("its end")];
    let lines = list.lines().filter(|line| !line.trim().starts_with('#'));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
}

#[test]
fn each_service_may_do_what_it_does_and_nothing_else() {
    let file = include_str!("../../nats/users.conf");
    let users: Vec<&str> = file.split("user: $").skip(1).collect();
    for (name, Rights { publish, subscribe }) in
        [("NATS_API_USER", API_SERVICE), ("NATS_JOB_USER", JOB_SERVICE)]
    {
        let user = users.iter().find(|user| user.starts_with(name)).expect(name);
        assert_eq!(subjects(user, "publish"), publish.iter().copied().collect(), "{name}");
        assert_eq!(subjects(user, "subscribe"), subscribe.iter().copied().collect(), "{name}");
    }
}
