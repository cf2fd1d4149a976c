//! Requests for a user that are sent again.

use std::collections::HashSet;

use bson::doc;
use e2e::{Answer, App, Client};
use reqwest::Method;
use serde_json::{Value, json};

use super::{STACK, ask, named, patch};

async fn keyed(client: &Client, key: &str, user: &Value) -> Answer {
    client.send(client.request(Method::POST, "/v1/users").header("Idempotency-Key", key).json(user)).await
}

/// Sets the time at which a key was taken a day back.
async fn age(app: &App, key: &str) {
    let users = app.jobs().await.client().database("hasty_api").collection::<bson::Document>("users");
    let day_ago = bson::DateTime::from_millis(bson::DateTime::now().timestamp_millis() - 86_401_000);
    let aged = doc! { "$set": { "idempotency_at": day_ago } };
    assert_eq!(users.update_one(doc! { "idempotency_key": key }, aged).await.unwrap().modified_count, 1);
}

#[tokio::test]
async fn the_same_request_is_answered_with_its_user() {
    let app = STACK.app().await;
    let first = keyed(&app, "user-1", &named("key.Ada")).await.expect(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    let user = first.json();
    let again = keyed(&app, "user-1", &named("key.Ada")).await.expect(200);
    assert_eq!((again.header("idempotent-replayed"), again.json()), (Some("true"), user.clone()));
    assert_eq!(again.header("location"), first.header("location"));

    // As it is now.
    let changed =
        patch(&app, &user, &[], &json!({ "email": "key.other@example.org" })).await.expect(200).json();
    assert_eq!(keyed(&app, "user-1", &named("key.Ada")).await.expect(200).json(), changed);
    // Its first address is free for another request, and this one is not that.
    let other = keyed(&app, "user-2", &named("key.Ada")).await.expect(201).json();
    assert_ne!(other["id"], user["id"]);

    for reused in [named("key.Ida"), json!({ "name": "key.Ada", "email": "KEY.Ada@example.org", "group": 7 })]
    {
        let answer = keyed(&app, "user-1", &reused).await.expect(422);
        let told = (answer.problem().code, answer.json()["user_id"].clone());
        assert_eq!(told, ("idempotency_key_reused".to_owned(), user["id"].clone()));
    }
    let problem = keyed(&app, &"x".repeat(257), &named("key.Ida")).await.expect(400).problem();
    assert_eq!(problem.fields(), ["Idempotency-Key"]);
}

#[tokio::test]
async fn many_of_the_same_requests_at_once_create_one_user() {
    let app = STACK.app().await;
    let replicas = [app.replica(0), app.replica(1)];
    for round in 0..5 {
        let (key, user) = (format!("once-{round}"), named(&format!("once{round}")));
        let asked = (0..10).map(|number| keyed(&replicas[number % 2], &key, &user));
        let answers = futures::future::join_all(asked).await;
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        let replayed = answers.iter().filter(|answer| answer.status == 200).count();
        assert_eq!((created, replayed), (1, 9), "round {round}: {answers:?}");
        let ids: HashSet<String> = answers.iter().map(|answer| answer.json()["id"].to_string()).collect();
        assert_eq!(ids.len(), 1);
    }
}

#[tokio::test]
async fn a_key_outlives_its_user_and_is_free_after_a_day() {
    let app = STACK.app().await;
    let user = keyed(&app, "gone-1", &named("gone.Ada")).await.expect(201).json();
    ask(&app, Method::DELETE, &user, &[], None).await.expect(204);
    app.get(&format!("/v1/users/{}", user["id"].as_str().unwrap())).await.expect(404);
    let gone = keyed(&app, "gone-1", &named("gone.Ada")).await.expect(410);
    assert_eq!((gone.problem().code.as_str(), &gone.json()["user_id"]), ("user_gone", &user["id"]));
    keyed(&app, "gone-1", &named("gone.Ida")).await.expect(422);
    // What stays of it is in no list, and hinders nobody.
    assert_eq!(app.get("/v1/users/count?email=gone.Ada@example.org").await.expect(200).json()["count"], 0);
    assert_eq!(app.get("/v1/users?name_prefix=gone.Ada").await.expect(200).json()["users"], json!([]));

    // Another one under that id has the key: it is the user that the request is answered with.
    let put = app.request(Method::PUT, &format!("/v1/users/{}", user["id"].as_str().unwrap()));
    let back = app.send(put.header("If-None-Match", "*").json(&named("gone.Ada"))).await.expect(201).json();
    assert_eq!(keyed(&app, "gone-1", &named("gone.Ada")).await.expect(200).json(), back);

    ask(&app, Method::DELETE, &user, &[], None).await.expect(204);
    age(&app, "gone-1").await;
    let next = keyed(&app, "gone-1", &named("gone.Ada")).await.expect(201).json();
    assert_ne!(next["id"], user["id"]);
    age(&app, "gone-1").await;
    keyed(&app, "gone-1", &named("gone.Ida")).await.expect(201);
}
