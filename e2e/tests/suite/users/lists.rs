//! `GET /v1/users` and `/v1/users/count`.

use std::collections::BTreeSet;

use e2e::App;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{STACK, ask, create};

/// All users of a list, page by page; every page but the last is full.
async fn all(app: &App, query: &str, size: usize) -> Vec<Value> {
    let (mut users, mut token) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("/v1/users?{query}&page_size={size}&page_token={token}"))
            .await
            .expect(200)
            .json();
        let found = page["users"].as_array().unwrap();
        users.extend(found.iter().cloned());
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            return users;
        }
        assert_eq!(found.len(), size, "{query}");
    }
}

async fn count(app: &App, query: &str) -> u64 {
    app.get(&format!("/v1/users/count?{query}")).await.expect(200).json()["count"].as_u64().unwrap()
}

fn texts(users: &[Value], field: &str) -> Vec<String> {
    users.iter().map(|user| user[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_and_filters_combine() {
    let app = STACK.app().await;
    let names = ["List", "Lisa", "Lisa", "Lisbeth", "lisa", "Lis", "Lit", "Li%st", "Li\u{e9}"];
    let wishes = (0..27_usize).map(|number| {
        json!({ "name": names[number % 9], "email": format!("list{number}@example.org"), "group": 100 + number % 2 })
    });
    let wishes: Vec<Value> = wishes.collect();
    let created: BTreeSet<String> =
        texts(&join_all(wishes.iter().map(|wish| create(&app, wish))).await, "id").into_iter().collect();

    for size in [1, 7, 27, 28] {
        let mut ids = texts(&all(&app, "group=100", size).await, "id");
        ids.extend(texts(&all(&app, "group=101", size).await, "id"));
        assert_eq!(
            (ids.len(), ids.iter().cloned().collect::<BTreeSet<_>>()),
            (27, created.clone()),
            "{size}"
        );
    }
    let ids = texts(&all(&app, "group=100", 5).await, "id");
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first: {ids:?}");
    assert_eq!((count(&app, "group=100").await, count(&app, "group=101").await), (14, 13));

    for (prefix, expected) in
        [("Lis", 15), ("Lisa", 6), ("lisa", 3), ("Li%25", 3), ("Li%C3%A9", 3), ("List", 3), ("LisaX", 0)]
    {
        let mut found = Vec::new();
        for group in [100, 101] {
            let query = format!("name_prefix={prefix}&group={group}");
            let of_group = all(&app, &query, 2).await;
            assert_eq!(count(&app, &query).await, of_group.len() as u64);
            assert!(texts(&of_group, "name").is_sorted(), "{query}");
            found.extend(texts(&of_group, "id"));
        }
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), expected, "{prefix}");
        assert_eq!(found.len(), expected, "{prefix}");
    }
    let one = all(&app, "email=LIST3@Example.org", 5).await;
    assert_eq!(texts(&one, "email"), ["list3@example.org"]);
    assert_eq!(count(&app, "email=list3@example.org&group=101").await, 1);
    assert_eq!(count(&app, "email=list3@example.org&group=100").await, 0);
    assert!(all(&app, "email=nobody@example.org", 5).await.is_empty());
    assert!(count(&app, "").await >= 27);
}

#[tokio::test]
async fn who_is_there_all_the_time_is_on_one_page() {
    let app = STACK.app().await;
    let wish = |name: &str, number: u32| json!({ "name": name, "email": format!("{name}{number}@example.org"), "group": 200 });
    let wishes: Vec<Value> = (0..40).map(|number| wish("there", number)).collect();
    let there = join_all(wishes.iter().map(|wish| create(&app, wish))).await;
    let there: BTreeSet<String> = texts(&there, "id").into_iter().collect();
    let come_and_go = async {
        for number in 0..30 {
            let user = create(&app, &wish("visits", number)).await;
            ask(&app, Method::DELETE, &user, &[], None).await.expect(204);
        }
    };
    let walk = async {
        for _ in 0..5 {
            let ids = texts(&all(&app, "group=200", 3).await, "id");
            assert_eq!(ids.iter().filter(|id| there.contains(*id)).count(), there.len());
        }
    };
    futures::future::join(come_and_go, walk).await;
}
