//! The user store: `/v1/users`, and the older client's `/api/user`.

mod conditions;
mod input;
mod keys;
mod lists;
mod older;
mod replica_set;

use e2e::{Answer, App, Shared};
use reqwest::Method;
use serde_json::{Value, json};
use stack::Stack;

static STACK: Shared = Shared::new(|| Stack::builder().api(2).workers(0));

/// A user of whom only the name is said: it is in the address too, and in group 7.
fn named(name: &str) -> Value {
    json!({ "name": name, "email": format!("{name}@example.org"), "group": 7 })
}

/// `POST /v1/users`, which is answered with 201.
async fn create(app: &App, user: &Value) -> Value {
    app.post("/v1/users", user).await.expect(201).json()
}

/// A request about a user, with headers.
async fn ask(
    app: &App,
    method: Method,
    user: &Value,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
    let mut request = app.request(method, &path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    app.send(body.into_iter().fold(request, reqwest::RequestBuilder::json)).await
}

async fn patch(app: &App, user: &Value, headers: &[(&str, &str)], body: &Value) -> Answer {
    ask(app, Method::PATCH, user, headers, Some(body)).await
}

/// The user as the primary has it.
async fn now(app: &App, user: &Value) -> Answer {
    ask(app, Method::GET, user, &[("Cache-Control", "no-cache")], None).await
}

fn etag(answer: &Answer) -> String {
    answer.header("etag").expect("a user has a tag").to_owned()
}

#[tokio::test]
async fn a_user_is_created_read_changed_and_deleted() {
    let app = STACK.app().await;
    let answer = app.post("/v1/users", &named("Ada.Life")).await.expect(201);
    let user = answer.json();
    assert_eq!(
        (&user["name"], &user["email"], &user["group"]),
        (&json!("Ada.Life"), &json!("Ada.Life@example.org"), &json!(7))
    );
    assert_eq!(uuid::Uuid::parse_str(user["id"].as_str().unwrap()).unwrap().get_version_num(), 7);
    assert_eq!(user["created_at"], user["updated_at"]);
    let location = answer.header("location").unwrap();
    assert_eq!(location, format!("/v1/users/{}", user["id"].as_str().unwrap()));
    let read = app.get(location).await.expect(200);
    assert_eq!((read.json(), etag(&read)), (user.clone(), etag(&answer)));

    let put = json!({ "name": "Ada", "email": "ada.life@example.org", "group": 8 });
    let answer = ask(&app, Method::PUT, &user, &[], Some(&put)).await.expect(200);
    let replaced = answer.json();
    for field in ["name", "email", "group"] {
        assert_eq!(replaced[field], put[field]);
    }
    assert_eq!((&replaced["id"], &replaced["created_at"]), (&user["id"], &user["created_at"]));
    assert_eq!(
        (now(&app, &user).await.json(), etag(&now(&app, &user).await)),
        (replaced.clone(), etag(&answer))
    );

    let changed = patch(&app, &user, &[], &json!({ "group": 0 })).await.expect(200).json();
    assert_eq!((&changed["group"], &changed["name"]), (&json!(0), &json!("Ada")));
    let merge = app.request(Method::PATCH, location).header("content-type", "application/merge-patch+json");
    let merged = app.send(merge.body(r#"{"name":"Countess"}"#)).await.expect(200).json();
    assert_eq!((&merged["group"], &merged["name"]), (&json!(0), &json!("Countess")));

    // What changes nothing makes no new state.
    let same = patch(&app, &user, &[], &json!({ "name": "Countess" })).await.expect(200);
    assert_eq!(same.json(), merged);

    ask(&app, Method::DELETE, &user, &[], None).await.expect(204);
    for method in [Method::GET, Method::DELETE] {
        let problem = ask(&app, method, &user, &[], None).await.expect(404).problem();
        assert_eq!(problem.code, "user_not_found");
    }
    assert_eq!(patch(&app, &user, &[], &json!({})).await.expect(404).problem().code, "user_not_found");
    assert_eq!(
        ask(&app, Method::PUT, &user, &[], Some(&put)).await.expect(404).problem().code,
        "user_not_found"
    );
    // The address is free again.
    create(&app, &named("Ada.Life")).await;
}

#[tokio::test]
async fn no_two_users_have_one_address_in_whatever_case() {
    let app = STACK.app().await;
    let (ada, ida) = (create(&app, &named("taken.Ada")).await, create(&app, &named("taken.Ida")).await);
    let wish = json!({ "name": "x", "email": "TAKEN.ada@EXAMPLE.org", "group": 1 });
    let put = json!({ "name": "x", "email": "Taken.Ada@Example.org", "group": 1 });
    for answer in [
        app.post("/v1/users", &wish).await,
        patch(&app, &ida, &[], &json!({ "email": wish["email"] })).await,
        ask(&app, Method::PUT, &ida, &[], Some(&put)).await,
        ask(&app, Method::PUT, &json!({ "id": "taken-1" }), &[("If-None-Match", "*")], Some(&put)).await,
    ] {
        let (problem, told) = (answer.expect(409), ada["id"].clone());
        assert_eq!((problem.problem().code.as_str(), &problem.json()["user_id"]), ("email_taken", &told));
    }
    assert_eq!(now(&app, &ida).await.json(), ida);
    // Its own it may have in another case.
    let own = patch(&app, &ada, &[], &json!({ "email": "TAKEN.ADA@example.org" })).await.expect(200).json();
    assert_eq!(own["email"], "TAKEN.ADA@example.org");
}

#[tokio::test]
async fn of_many_who_want_one_address_at_once_one_has_it() {
    let app = STACK.app().await;
    let replicas = [app.replica(0), app.replica(1)];
    for round in 0..15 {
        let wishes = (0..8_usize).map(|number| {
            let email = format!("race{round}@example.org");
            let email = if number % 2 == 0 { email } else { email.to_uppercase() };
            let wish = json!({ "name": format!("{number}"), "email": email, "group": 1 });
            let replica = &replicas[number / 2 % 2];
            async move { replica.post("/v1/users", &wish).await }
        });
        let answers = futures::future::join_all(wishes).await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409], "round {round}");
        let created = answers.iter().find(|answer| answer.status == 201).unwrap().json();
        for refused in answers.iter().filter(|answer| answer.status == 409) {
            assert_eq!(
                (refused.problem().code.as_str(), &refused.json()["user_id"]),
                ("email_taken", &created["id"])
            );
        }
    }
}
