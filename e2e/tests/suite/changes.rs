//! Changes that share a statement, on a real mongod.

use bson::{
    Document, RawBson, doc,
    raw::{CStr, cstr},
    rawdoc,
};
use futures::TryStreamExt;
use service_kit::{
    Mongo,
    mongo::{Change, Durability},
};
use stack::Stack;

const DUE: &[&CStr] = &[cstr!("due")];

/// Texts and values that mean something else to an aggregation.
fn tricky() -> Vec<bson::Bson> {
    let texts = ["$_id", "$$ROOT", "$$", "$"].map(Into::into);
    let values = [
        doc! { "$literal": 1 }.into(),
        doc! { "a.b": "$status" }.into(),
        vec!["$_id"].into(),
        bson::Bson::Null,
    ];
    texts.into_iter().chain(values).collect()
}

#[tokio::test]
async fn each_document_gets_its_own_values_literally_if_it_is_as_it_should_be() {
    let stack = Stack::builder().api(1).workers(1).start().await.unwrap();
    let mongo = Mongo::connect(stack.api_mongo().url(), "changes", "test").await.unwrap();
    let collection = mongo.collection::<Document>("changed");
    let values = tricky();
    let before = |id: usize| {
        let status = if id.is_multiple_of(3) { "over" } else { "open" };
        doc! { "_id": id.to_string(), "status": status, "value": "old", "due": 1, "kept": "$_id" }
    };
    collection.insert_many((0..values.len() * 60).map(before)).await.unwrap();

    let changes = (0..values.len() * 60).map(|id| Change {
        id: RawBson::String(id.to_string()),
        only_if: rawdoc! { "status": "open" },
        set: rawdoc! { "value": RawBson::try_from(values[id % values.len()].clone()).unwrap(), "new": i32::try_from(id).unwrap() },
        unset: DUE,
        push: None,
    });
    let matched = mongo.change("changed", changes.collect(), Durability::Journaled).await.unwrap();

    assert_eq!(matched, u64::try_from(values.len() * 40).unwrap());
    let after: Vec<Document> = collection.find(doc! {}).await.unwrap().try_collect().await.unwrap();
    assert_eq!(after.len(), values.len() * 60);
    for document in after {
        let id: usize = document.get_str("_id").unwrap().parse().unwrap();
        let expected = if id.is_multiple_of(3) {
            before(id)
        } else {
            let value = values[id % values.len()].clone();
            doc! { "_id": id.to_string(), "status": "open", "value": value, "kept": "$_id", "new": i32::try_from(id).unwrap() }
        };
        assert_eq!(document, expected);
    }
    stack.stop().await.unwrap();
}
