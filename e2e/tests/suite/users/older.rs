//! The older user store's clients, which go on working.

use e2e::{Answer, App};
use reqwest::Method;
use serde_json::{Value, json};

use super::{STACK, create, named};

async fn old(app: &App, method: Method, path: &str, body: Option<&Value>) -> Answer {
    let request = app.request(method, &format!("/api/user{path}"));
    // Their client never had to say that it sends JSON.
    app.send(body.into_iter().fold(request, |request, body| request.body(body.to_string()))).await
}

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_user_of_the_older_store_lives_its_whole_life() {
    let app = STACK.app().await;
    let user = json!({ "id": "13AE742", "name": "Old", "email": "old@example.org", "group": 3 });
    let answer = old(&app, Method::POST, "/", Some(&user)).await.expect(201);
    assert_eq!(answer.json(), user);
    assert!(answer.header("deprecation").is_some() && answer.header("link").unwrap().contains("/v1/users"));
    assert_eq!(old(&app, Method::GET, "/13AE742", None).await.expect(200).json(), user);
    // It is a user like any other.
    assert_eq!(app.get("/v1/users/13AE742").await.expect(200).json()["email"], "old@example.org");

    let change = json!({ "id": "13AE742", "group": 4, "shoe": 46 });
    let changed = json!({ "id": "13AE742", "name": "Old", "email": "old@example.org", "group": 4 });
    assert_eq!(old(&app, Method::PUT, "/", Some(&change)).await.expect(200).json(), changed);
    let all = json!({ "id": "13AE742", "name": "New", "email": "new@example.org", "group": 5 });
    assert_eq!(old(&app, Method::PUT, "", Some(&all)).await.expect(200).json(), all);
    assert_eq!(old(&app, Method::GET, "/13AE742", None).await.expect(200).json(), all);

    assert_eq!(old(&app, Method::DELETE, "/13AE742", None).await.expect(204).body, "");
    for answer in [
        old(&app, Method::GET, "/13AE742", None).await,
        old(&app, Method::DELETE, "/13AE742", None).await,
        old(&app, Method::PUT, "/", Some(&change)).await,
    ] {
        assert_eq!(message(&answer.expect(404)), "no user with id: 13AE742");
    }
    // The id and the address are free again.
    old(&app, Method::POST, "", Some(&user)).await.expect(201);
}

#[tokio::test]
async fn a_user_without_an_id_gets_one() {
    let app = STACK.app().await;
    let user = old(&app, Method::POST, "/", Some(&named("old.Ada"))).await.expect(201).json();
    let id = user["id"].as_str().unwrap();
    assert_eq!(old(&app, Method::GET, &format!("/{id}"), None).await.expect(200).json(), user);
    let new = create(&app, &named("old.Ida")).await;
    let shown =
        old(&app, Method::GET, &format!("/{}", new["id"].as_str().unwrap()), None).await.expect(200).json();
    assert_eq!(
        shown,
        json!({ "id": new["id"], "name": "old.Ida", "email": "old.Ida@example.org", "group": 7 })
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_in_its_form() {
    let app = STACK.app().await;
    let fine = json!({ "id": "fine", "name": "F", "email": "fine@example.org", "group": 1 });
    old(&app, Method::POST, "/", Some(&fine)).await.expect(201);
    let with = |field: &str, value: Value| {
        let mut user = json!({ "id": "odd", "name": "O", "email": "odd@example.org", "group": 1 });
        user[field] = value;
        user
    };
    for (method, body, told) in [
        (Method::POST, json!({}), "name is required"),
        (Method::POST, with("id", json!("a/b")), "id must be"),
        (Method::POST, with("id", json!("count")), "id must be"),
        (Method::POST, with("email", json!("odd")), "email must be an e-mail address"),
        (Method::POST, with("group", json!("1")), "group must be a whole number"),
        (Method::PUT, json!({ "group": 1 }), "id is required"),
        (Method::PUT, json!({ "id": "fine", "name": null }), "name can not be removed"),
    ] {
        let answer = old(&app, method, "/", Some(&body)).await.expect(400);
        assert!(message(&answer).starts_with(told), "{body}: {}", answer.body);
    }
    for body in ["", "nonsense", "[]"] {
        let answer = app.send(app.request(Method::POST, "/api/user/").body(body)).await.expect(400);
        assert!(!message(&answer).is_empty());
    }
    let id_taken = with("id", json!("fine"));
    assert_eq!(
        message(&old(&app, Method::POST, "/", Some(&id_taken)).await.expect(409)),
        "there is a user with id: fine"
    );
    let email_taken = with("email", json!("FINE@example.org"));
    assert_eq!(
        message(&old(&app, Method::POST, "/", Some(&email_taken)).await.expect(409)),
        "user fine has this email"
    );
    assert_eq!(old(&app, Method::GET, "/fine", None).await.expect(200).json(), fine);
    old(&app, Method::GET, "/odd", None).await.expect(404);
}
