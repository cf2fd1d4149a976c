use super::*;

fn known(last: i64) -> StreamState {
    StreamState { stream: "JOBS".to_owned(), created_ms: 7, generation: 3, last, applied: None }
}

fn here(generation: i64, highest: i64) -> SeenHere {
    SeenHere { generation, highest, contradicted: false }
}

fn ack(sequence: u64) -> Stored {
    Stored { sequence, duplicate: false }
}

fn generation() -> StreamGeneration {
    let generation = StreamGenerations::default().jobs;
    assert!(generation.set(1, 10));
    generation
}

#[test]
fn a_stream_that_goes_on_is_the_same_and_any_other_is_lost() {
    let now = |created_ms, last| StreamNow { created_ms, last };
    let contradicted = SeenHere { contradicted: true, ..here(3, 10) };
    for (what, known, here, now, expected) in [
        ("never seen", None, here(0, 0), now(7, 5), Compared::New),
        ("as it was", Some(known(10)), here(3, 10), now(7, 10), Compared::Same),
        ("grown", Some(known(10)), here(3, 12), now(7, 15), Compared::Same),
        ("at the start", Some(known(10)), here(0, 0), now(7, 10), Compared::Same),
        ("created anew", Some(known(10)), here(3, 10), now(8, 15), Compared::Lost),
        ("below what is written down", Some(known(10)), here(0, 0), now(7, 9), Compared::Lost),
        ("below what was seen here", Some(known(10)), here(3, 14), now(7, 12), Compared::Lost),
        ("below what was seen before it was lost", Some(known(10)), here(2, 14), now(7, 12), Compared::Same),
        ("contradicted", Some(known(10)), contradicted, now(7, 20), Compared::Lost),
        (
            "contradicted, and another replica has noticed",
            Some(known(10)),
            SeenHere { generation: 2, ..contradicted },
            now(7, 20),
            Compared::Same,
        ),
    ] {
        assert_eq!(compare(known.as_ref(), &here, &now), expected, "{what}");
    }
}

#[test]
fn acks_of_concurrent_publishes_may_come_in_any_order() {
    let generation = generation();
    let sent = generation.sent();
    assert_eq!([12, 11].map(|sequence| generation.stored(sent, ack(sequence))), [Some(1), Some(1)]);
    assert!(!generation.seen().contradicted);
}

#[test]
fn a_sequence_that_was_used_before_is_of_another_generation() {
    let generation = generation();
    assert_eq!(generation.stored(generation.sent(), ack(10)), None);
    assert!(generation.seen().contradicted);
    // What comes after it is of that other generation too, until its number is known.
    assert_eq!(generation.stored(generation.sent(), ack(11)), None);
}

#[test]
fn a_duplicate_has_the_sequence_of_the_first() {
    let generation = generation();
    let duplicate = Stored { duplicate: true, ..ack(4) };
    assert_eq!(generation.stored(generation.sent(), duplicate), Some(1));
}

#[test]
fn an_ack_that_crosses_a_change_of_generation_says_nothing_about_either() {
    let generation = generation();
    let sent = generation.sent();
    assert!(generation.set(2, 3));
    assert_eq!(generation.stored(sent, ack(4)), None);
    assert_eq!(generation.seen(), here(2, 3));
}

#[test]
fn what_is_known_of_a_stream_is_written_and_read_as_ever() {
    let path = format!("{}/fixtures/v1/stream_state.json", env!("CARGO_MANIFEST_DIR"));
    let json: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let state: StreamState = serde_json::from_value(json.clone()).unwrap();
    assert_eq!((state.generation, state.last, state.applied), (3, 1200, Some(1100)));
    assert_eq!(serde_json::to_value(state).unwrap(), json);
}
