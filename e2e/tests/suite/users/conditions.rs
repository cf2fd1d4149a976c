//! `ETag`, `If-Match` and `If-None-Match`.

use e2e::raw;
use reqwest::Method;
use serde_json::{Value, json};

use super::{STACK, ask, create, etag, named, now, patch};

#[tokio::test]
async fn a_change_is_made_to_the_state_that_it_is_meant_for() {
    let app = STACK.app().await;
    let user = create(&app, &named("cond.Ada")).await;
    let first = etag(&now(&app, &user).await);
    let changed = patch(&app, &user, &[("If-Match", &first)], &json!({ "group": 1 })).await.expect(200);
    let second = etag(&changed);
    assert_ne!(first, second);

    let put = json!({ "name": "x", "email": "cond.x@example.org", "group": 2 });
    for (method, body) in
        [(Method::PATCH, Some(json!({ "group": 2 }))), (Method::PUT, Some(put)), (Method::DELETE, None)]
    {
        for header in [
            ("If-Match", first.as_str()),
            ("If-Match", "\"x\", W/\"y\""),
            ("If-None-Match", "*"),
            ("If-None-Match", &second),
        ] {
            let answer = ask(&app, method.clone(), &user, &[header], body.as_ref()).await.expect(412);
            assert_eq!(answer.problem().code, "precondition_failed", "{method} {header:?}");
        }
    }
    assert_eq!(now(&app, &user).await.json(), changed.json());

    let tags = format!("\"x\", W/{second}");
    let third = patch(&app, &user, &[("If-Match", &tags)], &json!({ "group": 3 })).await.expect(200);
    let fourth = patch(&app, &user, &[("If-Match", "*")], &json!({ "group": 4 })).await.expect(200);
    ask(&app, Method::DELETE, &user, &[("If-Match", &etag(&third))], None).await.expect(412);
    ask(&app, Method::DELETE, &user, &[("If-Match", &etag(&fourth))], None).await.expect(204);
    ask(&app, Method::DELETE, &user, &[("If-Match", &etag(&fourth))], None).await.expect(404);
}

#[tokio::test]
async fn a_read_may_have_a_condition_too() {
    let app = STACK.app().await;
    let user = create(&app, &named("read.Ada")).await;
    let tag = etag(&now(&app, &user).await);
    let read = async |name: &str, value: &str| ask(&app, Method::GET, &user, &[(name, value)], None).await;
    let unchanged = read("If-None-Match", &tag).await.expect(304);
    assert_eq!((unchanged.body.as_str(), etag(&unchanged)), ("", tag.clone()));
    read("If-None-Match", "\"x\"").await.expect(200);
    read("If-Match", &tag).await.expect(200);
    assert_eq!(read("If-Match", "\"x\"").await.expect(412).problem().code, "precondition_failed");
}

#[tokio::test]
async fn a_user_is_created_under_an_id_where_there_is_none() {
    let app = STACK.app().await;
    let (user, absent) = (json!({ "id": "own-1" }), [("If-None-Match", "*")]);
    let put = |group: u32| json!({ "name": "Own", "email": "own@example.org", "group": group });
    ask(&app, Method::PUT, &user, &[], Some(&put(1))).await.expect(404);
    let answer = ask(&app, Method::PUT, &user, &absent, Some(&put(1))).await.expect(201);
    assert_eq!((answer.header("location"), &answer.json()["id"]), (Some("/v1/users/own-1"), &user["id"]));
    ask(&app, Method::PUT, &user, &absent, Some(&put(2))).await.expect(412);
    assert_eq!(now(&app, &user).await.json()["group"], 1);
    ask(&app, Method::PUT, &user, &[("If-Match", &etag(&answer))], Some(&put(3))).await.expect(200);
    // Both at once never hold.
    let both = [("If-None-Match", "*"), ("If-Match", "*")];
    ask(&app, Method::PUT, &user, &both, Some(&put(4))).await.expect(412);

    // What the path can not have as it is.
    let path = "/v1/users/Zo%C3%AB:1";
    let odd = json!({ "name": "Zoë", "email": "zoe@example.org", "group": 1 });
    let odd =
        app.send(app.request(Method::PUT, path).header("If-None-Match", "*").json(&odd)).await.expect(201);
    assert_eq!(
        (odd.json()["id"].as_str(), odd.header("location")),
        (Some("Zoë:1"), Some("/v1/users/Zo%C3%AB%3A1"))
    );
    assert_eq!(app.get(odd.header("location").unwrap()).await.expect(200).json(), odd.json());
    for id in ["count", "..", "a%2Fb", "a%20b", &"x".repeat(65)] {
        let request = app.request(Method::PUT, &format!("/v1/users/{id}")).header("If-None-Match", "*");
        let status = app.send(request.json(&put(1))).await.status;
        assert!([404, 405].contains(&status), "{id}: {status}");
    }
}

#[tokio::test]
async fn of_many_changes_of_one_state_at_once_one_is_made() {
    let app = STACK.app().await;
    let replicas = [app.replica(0), app.replica(1)];
    let user = create(&app, &named("once.Ada")).await;
    for _ in 0..5 {
        let tag = etag(&now(&app, &user).await);
        let changes = (0..12_u32).map(|number| {
            let (replica, path) =
                (&replicas[number as usize % 2], format!("/v1/users/{}", user["id"].as_str().unwrap()));
            let change = replica.request(Method::PATCH, &path).header("If-Match", &tag);
            let change = change.json(&json!({ "name": format!("{tag} {number}") }));
            async move { replica.send(change).await }
        });
        let answers = futures::future::join_all(changes).await;
        let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!((done.len(), refused.len()), (1, 11));
        assert!(refused.iter().all(|answer| answer.status == 412), "{refused:?}");
        assert_eq!(now(&app, &user).await.json(), done[0].json());
    }
}

#[tokio::test]
async fn changes_without_a_condition_lose_nothing_of_each_other() {
    let app = STACK.app().await;
    let user = create(&app, &named("merge.Ada")).await;
    let (name, email) = (json!({ "name": "Merged" }), json!({ "email": "merged@example.org" }));
    let group = json!({ "group": 99 });
    let changes = [&name, &email, &group].map(|change| patch(&app, &user, &[], change));
    for answer in futures::future::join_all(changes).await {
        answer.expect(200);
    }
    let user = now(&app, &user).await.json();
    let of = |field: &str| user[field].clone();
    assert_eq!(
        [of("name"), of("email"), of("group")],
        [json!("Merged"), json!("merged@example.org"), json!(99)]
    );
}

/// nginx weakens the tag of what it compresses, and the client sends back what it got.
#[tokio::test]
async fn a_tag_that_compression_has_weakened_is_as_good() {
    let app = STACK.app().await;
    let long = json!({ "name": "\u{1f600}".repeat(200), "email": format!("{}@{}.example.org", "x".repeat(60), "y".repeat(60)), "group": 1 });
    let user = create(&app, &long).await;
    let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: hasty\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    let compressed = raw::ask(app.stack().url(), &request).await;
    assert_eq!((compressed.status, compressed.header("content-encoding")), (200, Some("gzip")));
    let weak = compressed.header("etag").expect("nginx keeps the tag").to_owned();
    assert!(weak.starts_with("W/\""), "{weak}");

    ask(&app, Method::GET, &user, &[("If-None-Match", &weak)], None).await.expect(304);
    ask(&app, Method::GET, &user, &[("If-Match", &weak)], None).await.expect(200);
    let change = |group: u32| json!({ "group": group });
    patch(&app, &user, &[("If-Match", &weak)], &change(2)).await.expect(200);
    patch(&app, &user, &[("If-Match", &weak)], &change(3)).await.expect(412);
    let stored: Value = now(&app, &user).await.json();
    assert_eq!(stored["group"], 2);
}
