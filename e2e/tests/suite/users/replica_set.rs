//! The user store on a replica set of three: who may answer, and what becomes of it when members die.

use std::collections::BTreeSet;
use std::time::Duration;

use bson::{Document, doc};
use e2e::App;
use lab::users::{self, Settings};
use mongodb::{Client, options::ClientOptions};
use reqwest::Method;
use serde_json::{Value, json};
use stack::{Profile, Stack, poll};

use super::{ask, create, etag, named, now, patch};

/// Longer than a set takes to settle, and than a secondary may be behind.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);

/// How many reads in a row a secondary that is asked at all would have its share of.
const IN_A_ROW: usize = 60;

/// Each member of either set is killed in turn under load; the figures are printed.
#[tokio::test(flavor = "multi_thread")]
async fn any_member_may_die_and_nothing_acknowledged_is_lost() {
    let phase = Duration::from_secs(5);
    let settings = Settings { phase, clients: 2, usual_elections: false, profile: Profile::default() };
    let report = users::run(settings, |line| println!("{line}")).await.unwrap();
    println!("{report}");
    assert_eq!((report.lost, report.wrong.as_slice()), (0, &[][..]), "{report}");
    assert!(report.kept > 100 && report.jobs_finished > 20, "{report}");
    // How long they stood still is a figure (`cargo lab users`): a busy machine alone may take a second. Reads went on while
    // others were away.
    assert!(report.longest_pause_of_reads() < phase, "{report}");
}

/// The members of the API's set, each asked itself, whatever the others say.
struct Members(Vec<Client>);

impl Members {
    async fn of(app: &App) -> Self {
        let mut members = Vec::new();
        for index in 0..app.stack().api_mongo_members().len() {
            let mut options = ClientOptions::parse(app.stack().api_mongo().url()).await.unwrap();
            (options.direct_connection, options.repl_set_name) = (Some(true), None);
            options.hosts = vec![options.hosts[index].clone()];
            members.push(Client::with_options(options).unwrap());
        }
        Self(members)
    }

    async fn tell(&self, member: usize, command: Document) -> Document {
        self.0[member].database("admin").run_command(command).await.expect("a member answers")
    }

    /// Those that are secondaries.
    async fn secondaries(&self) -> Vec<usize> {
        let mut secondaries = Vec::new();
        for member in 0..self.0.len() {
            if self.tell(member, doc! { "hello": 1 }).await.get_bool("secondary").unwrap_or(false) {
                secondaries.push(member);
            }
        }
        secondaries
    }

    /// How many queries a member has answered.
    async fn queries(&self, member: usize) -> i64 {
        let status = self.tell(member, doc! { "serverStatus": 1 }).await;
        let counters = status.get_document("opcounters").expect("a member counts");
        counters.get_i64("query").or_else(|_| counters.get_i32("query").map(i64::from)).expect("a number")
    }

    /// How many queries a member has answered of those that this leads to.
    async fn asked_by(&self, member: usize, reads: impl Future<Output = ()>) -> i64 {
        let before = self.queries(member).await;
        reads.await;
        self.queries(member).await - before
    }
}

/// Reads the user so many times, one after the other; the groups that were shown.
async fn groups(app: &App, user: &Value) -> BTreeSet<u64> {
    let mut shown = BTreeSet::new();
    for _ in 0..IN_A_ROW {
        let user = ask(app, Method::GET, user, &[], None).await.expect(200).json();
        shown.insert(user["group"].as_u64().unwrap());
    }
    shown
}

async fn is_asked(app: &App, members: &Members, member: usize, user: &Value) {
    let asked = || async {
        let asked = members.asked_by(member, async { drop(groups(app, user).await) }).await;
        if asked > 0 { Ok(()) } else { Err(format!("{asked} of {IN_A_ROW} reads")) }
    };
    poll::until("a secondary to be asked", SETTLED_WITHIN, asked).await.unwrap();
}

#[tokio::test]
async fn secondaries_answer_unless_it_matters_or_they_are_far_behind() {
    let app = App::start(Stack::builder().api(1).workers(0).api_mongo_replicas(3)).await;
    let members = Members::of(&app).await;
    let user = create(&app, &named("far.Ada")).await;
    let secondaries = members.secondaries().await;
    assert_eq!(secondaries.len(), 2);
    for secondary in &secondaries {
        is_asked(&app, &members, *secondary, &user).await;
    }
    for secondary in &secondaries {
        let fresh = async {
            for _ in 0..IN_A_ROW {
                now(&app, &user).await.expect(200);
            }
        };
        // A member that looks for whom to replicate from asks another a few things.
        let asked = members.asked_by(*secondary, fresh).await;
        assert!(asked < IN_A_ROW as i64 / 4, "{asked}");
    }

    // One applies nothing any more, and still answers.
    let stuck = secondaries[0];
    members.tell(stuck, doc! { "fsync": 1, "lock": true }).await;
    let changed = patch(&app, &user, &[], &json!({ "group": 100 })).await.expect(200);
    for number in 0..20 {
        ask(&app, Method::GET, &user, &[("If-None-Match", &etag(&changed))], None).await.expect(304);
        assert_eq!(now(&app, &user).await.json()["group"], 100);
        let new = app.post("/v1/users", &named(&format!("far.{number}"))).await.expect(201);
        app.get(new.header("location").unwrap()).await.expect(200);
    }
    let up_to_date = || async {
        let shown = groups(&app, &user).await;
        if shown == BTreeSet::from([100]) { Ok(()) } else { Err(format!("{shown:?}")) }
    };
    poll::until("the secondary that is behind to be left out", SETTLED_WITHIN, up_to_date).await.unwrap();
    let left_out = || async {
        let asked = members.asked_by(stuck, async { drop(groups(&app, &user).await) }).await;
        if asked == 0 { Ok(()) } else { Err(format!("{asked} of {IN_A_ROW} reads")) }
    };
    poll::until("nobody to ask it", SETTLED_WITHIN, left_out).await.unwrap();

    members.tell(stuck, doc! { "fsyncUnlock": 1 }).await;
    is_asked(&app, &members, stuck, &user).await;
    poll::until("it to have caught up", SETTLED_WITHIN, up_to_date).await.unwrap();
}
