//! What is wrong is named, and changes nothing.

use reqwest::Method;
use serde_json::{Value, json};

use super::{STACK, ask, create, named, now};

#[tokio::test]
async fn a_body_that_is_wrong_is_told_field_by_field() {
    let app = STACK.app().await;
    let user = create(&app, &named("wrong.Ada")).await;
    for (method, body, fields) in [
        (Method::POST, json!({}), vec!["name", "email", "group"]),
        (Method::POST, json!({ "name": "", "email": "a@b", "group": -1 }), vec!["name", "email", "group"]),
        (
            Method::POST,
            json!({ "name": "x".repeat(201), "email": 7, "group": 1.5 }),
            vec!["name", "email", "group"],
        ),
        (Method::POST, json!({ "name": "x", "email": "x@example.org", "group": 1, "id": "1" }), vec!["id"]),
        (Method::PUT, json!({ "name": "x" }), vec!["email", "group"]),
        (
            Method::PUT,
            json!({ "name": null, "email": "x@example.org", "group": 2_147_483_648_u32 }),
            vec!["name", "group"],
        ),
        (
            Method::PATCH,
            json!({ "name": null, "email": null, "group": null }),
            vec!["name", "email", "group"],
        ),
        (Method::PATCH, json!({ "name": "x", "created_at": "2020-01-01T00:00:00Z" }), vec!["created_at"]),
        (Method::PATCH, json!({ "email": "a@b@c.org" }), vec!["email"]),
    ] {
        let answer = match method {
            Method::POST => app.post("/v1/users", &body).await,
            ref method => ask(&app, method.clone(), &user, &[], Some(&body)).await,
        };
        let problem = answer.expect(422).problem();
        assert_eq!((problem.code.as_str(), problem.fields()), ("invalid_field", fields), "{method} {body}");
    }
    let removed =
        ask(&app, Method::PATCH, &user, &[], Some(&json!({ "group": null }))).await.expect(422).problem();
    assert_eq!(removed.errors[0].message, "can not be removed: null is not allowed here");
    assert_eq!(now(&app, &user).await.json(), user);
}

#[tokio::test]
async fn a_body_that_is_no_object_or_no_json_is_refused() {
    let app = STACK.app().await;
    let user = create(&app, &named("form.Ada")).await;
    let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
    for (method, path) in [(Method::POST, "/v1/users"), (Method::PUT, &path), (Method::PATCH, &path)] {
        let send = async |body: &'static str, content_type: &str| {
            let request = app.request(method.clone(), path).header("content-type", content_type);
            app.send(request.body(body)).await
        };
        for body in ["", "[]", "null", "\"x\"", "{", r#"{"group":1,"group":2}"#] {
            assert_eq!(
                send(body, "application/json").await.expect(400).problem().code,
                "malformed_body",
                "{method} {body}"
            );
        }
        send("{}", "text/plain").await.expect(415);
    }
    assert_eq!(now(&app, &user).await.json(), user);
}

#[tokio::test]
async fn parameters_that_are_wrong_are_told() {
    let app = STACK.app().await;
    for (query, fields) in [
        ("group=-1", vec!["group"]),
        ("group=x&email=a&name_prefix=", vec!["group", "email", "name_prefix"]),
        ("shoe=1", vec!["shoe"]),
        ("group=1&group=2", vec!["group"]),
    ] {
        for path in ["/v1/users", "/v1/users/count"] {
            let problem = app.get(&format!("{path}?{query}")).await.expect(400).problem();
            assert_eq!(
                (problem.code.as_str(), problem.fields()),
                ("invalid_parameter", fields.clone()),
                "{query}"
            );
        }
    }
    for query in ["page_size=0", "page_size=1001", "page_token=x"] {
        app.get(&format!("/v1/users?{query}")).await.expect(400);
        app.get(&format!("/v1/users/count?{query}")).await.expect(400);
    }
    let token: Value = {
        for name in ["token.Ada", "token.Ida"] {
            create(&app, &named(name)).await;
        }
        app.get("/v1/users?group=7&page_size=1").await.expect(200).json()["next_page_token"].clone()
    };
    let problem =
        app.get(&format!("/v1/users?group=8&page_token={}", token.as_str().unwrap())).await.expect(400);
    assert_eq!(problem.problem().fields(), ["page_token"]);
}

#[tokio::test]
async fn an_id_that_is_none_is_not_found_and_odd_methods_are_told() {
    let app = STACK.app().await;
    for id in ["nobody", "a%2Fb", "%01", "a%20b"] {
        app.get(&format!("/v1/users/{id}")).await.expect(404);
    }
    for (path, allow) in [
        ("/v1/users", "GET, HEAD, OPTIONS, POST"),
        ("/v1/users/count", "GET, HEAD, OPTIONS"),
        ("/v1/users/x", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
    ] {
        let answer = app.send(app.request(Method::from_bytes(b"LOCK").unwrap(), path)).await.expect(405);
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
    app.send(app.request(Method::DELETE, "/v1/users/count")).await.expect(405);
    let page = app.request(Method::PATCH, "/v1/users/x").header("origin", "https://elsewhere.example");
    assert_eq!(app.send(page.json(&json!({}))).await.expect(403).problem().code, "cross_site");
}
