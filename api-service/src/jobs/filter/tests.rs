use proptest::prelude::*;

use super::*;
use crate::http::Problem;

/// What a list with this query asks for.
fn read(query: &str) -> Result<ListQuery, Problem> {
    read_as(query)
}

fn read_as<T: ReadFields>(query: &str) -> Result<T, Problem> {
    let mut fields = Fields::of_query(query);
    let value = T::read(&mut fields);
    let mistakes = fields.finish();
    value.filter(|_| mistakes.is_empty()).ok_or_else(|| mistakes.into())
}

#[test]
fn a_query_is_read_in_full() {
    let Both(Filtered { filter, .. }, shape) =
        read("status=queued,running&status=failed&queue=a&object_id=x%20y&page_size=7").unwrap();
    assert_eq!(filter.status.unwrap().0, [Status::Queued, Status::Running, Status::Failed]);
    assert_eq!(filter.object_id.as_deref(), Some("x y"));
    assert_eq!(shape.page_size.get(), 7);
}

#[test]
fn what_is_wrong_is_named() {
    for (query, name) in [
        ("status=done", "status"),
        ("queue=Not+OK", "queue"),
        ("page_size=0", "page_size"),
        ("page_size=1001", "page_size"),
        ("created_after=yesterday", "created_after"),
        ("page_token=zz", "page_token"),
        ("colour=red", "colour"),
        ("queue=a&queue=b", "queue"),
        ("object_id=%ff", "object_id"),
    ] {
        let problem = read(query).unwrap_err();
        assert_eq!(problem.code(), "invalid_parameter");
        assert!(problem.to_string().contains(name), "{query}: {problem}");
    }
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let problem = read("status=done&queue=Not+OK&page_size=0&colour=red").unwrap_err();
    let problem = serde_json::to_value(&problem).unwrap();
    let named: Vec<(&str, &str)> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["field"].as_str().unwrap(), error["code"].as_str().unwrap()))
        .collect();
    let expected = [
        ("status", "wrong_format"),
        ("queue", "wrong_format"),
        ("page_size", "out_of_range"),
        ("colour", "unknown"),
    ];
    assert_eq!(named, expected);
}

#[test]
fn a_list_shows_what_is_asked_for() {
    let shown = |query| read(query).map(|Both(_, shape)| shape.fields.map(|CommaSeparated(fields)| fields));
    assert_eq!(shown("page_size=3").unwrap(), None);
    assert_eq!(shown("fields=payload").unwrap(), Some(vec![LargeField::Payload]));
    assert_eq!(shown("fields=result,payload").unwrap(), Some(vec![LargeField::Result, LargeField::Payload]));
    for query in ["fields=", "fields=payload,secret", "fields=kind"] {
        assert!(shown(query).unwrap_err().to_string().contains("fields"), "{query}");
    }
    // Only lists have it.
    assert!(read_as::<Filtered>("fields=payload").is_err());
}

#[test]
fn a_token_is_good_for_its_filters_only() {
    let id = Uuid::from_bytes([7; 16]);
    let token = Filter::default().token(id);
    assert_eq!(read_as::<Filtered>(&format!("page_token={token}")).unwrap().below, Some(id));
    assert!(read(&format!("queue=a&page_token={token}")).is_err());
}

/// Replicas of several versions read each other's: a value that changes here needs another [`TOKEN_VERSION`].
#[test]
fn tokens_are_what_they_always_were() {
    let token = |query: &str| read_as::<Filtered>(query).unwrap().filter.token(Uuid::from_bytes([7; 16]));
    assert_eq!(token(""), "v1-0707070707070707070707070707070744136fa3");
    let all = "queue=a&kind=b&status=queued,failed&object_id=%C3%A9&created_after=2027-01-15T08:00:00Z&created_before=2027-01-16T08:00:00.5%2B01:00";
    assert_eq!(token(all), "v1-07070707070707070707070707070707acc35c36");
    assert_eq!(
        token(
            "status=failed&kind=b&queue=a&created_before=2027-01-16T07:00:00.500Z&created_after=2027-01-15T08:00:00.000Z&object_id=%c3%a9&status=queued,failed"
        ),
        token(all)
    );
    assert_ne!(token("queue=a"), token("kind=a"));
}

#[test]
fn ids_of_a_millisecond_lie_between_its_bound_and_the_next() {
    let millis = 1_800_000_000_123;
    let id = uuid::Uuid::new_v7(uuid::Timestamp::from_unix_time(1_800_000_000, 123_000_000, 0, 0));
    let id = Uuid::from_bytes(id.into_bytes());
    assert!(
        first_id(Timestamp::from_millis(millis)) <= id && id < first_id(Timestamp::from_millis(millis + 1))
    );
}

proptest! {
    #[test]
    fn no_query_makes_it_panic(query in "\\PC{0,80}") {
        let _ = read(&query);
    }
}
