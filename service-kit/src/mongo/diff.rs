//! Which update makes one state of a document into another, without touching what its writer does not know.

use bson::{Bson, Document, doc};

/// The update that makes a document that has all that `old` has into one that has all that `new` has. Fields that
/// neither has stay as they are, also those within embedded documents and within the members of a list that only
/// loses members at its front and gains some at its end. Empty where nothing differs.
#[must_use]
pub fn diff(old: &Document, new: &Document) -> Document {
    let mut changes = Changes::default();
    changes.collect("", old, new);
    let Changes { set, unset, push } = changes;
    let operators = [("$set", set), ("$unset", unset), ("$push", push)];
    operators
        .into_iter()
        .filter(|(_, fields)| !fields.is_empty())
        .map(|(name, fields)| (name.to_owned(), Bson::from(fields)))
        .collect()
}

#[derive(Debug, Default)]
struct Changes {
    set: Document,
    unset: Document,
    push: Document,
}

impl Changes {
    fn collect(&mut self, path: &str, old: &Document, new: &Document) {
        for field in old.keys().filter(|field| !new.contains_key(field)) {
            self.unset.insert(format!("{path}{field}"), "");
        }
        for (field, value) in new {
            let path = format!("{path}{field}");
            match (old.get(field), value) {
                (Some(before), after) if before == after => {}
                (Some(Bson::Document(before)), Bson::Document(after))
                    if can_be_a_path(before) && can_be_a_path(after) =>
                {
                    self.collect(&format!("{path}."), before, after);
                }
                (Some(Bson::Array(before)), Bson::Array(after)) => match gained(before, after) {
                    Some(gained) => {
                        let kept = i64::try_from(after.len()).unwrap_or(i64::MAX);
                        self.push.insert(path, doc! { "$each": gained, "$slice": -kept });
                    }
                    None => drop(self.set.insert(path, value.clone())),
                },
                _ => drop(self.set.insert(path, value.clone())),
            }
        }
    }
}

/// Whether the names of these fields mean themselves as parts of a path.
fn can_be_a_path(document: &Document) -> bool {
    document.keys().all(|field| !field.is_empty() && !field.contains('.') && !field.starts_with('$'))
}

/// The members that a list has gained at its end, where it has lost some at its front at most, and kept one.
fn gained(before: &[Bson], after: &[Bson]) -> Option<Vec<Bson>> {
    (0..before.len())
        .map(|lost| &before[lost..])
        .find(|kept| after.starts_with(kept))
        .map(|kept| after[kept.len()..].to_vec())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Documents of few fields and values, so that two of them have much in common.
    fn documents() -> impl Strategy<Value = Document> {
        let scalar = || prop_oneof![(0..3_i32).prop_map(Bson::from), Just(Bson::Null)];
        let flat = || fields(scalar().boxed());
        let list = (0..5_i32, 0..6_i32).prop_map(|(from, to)| {
            Bson::Array((from..to).map(|number| doc! { "a": number }.into()).collect())
        });
        let value = prop_oneof![scalar(), flat().prop_map(Bson::from), list];
        let nested = prop_oneof![value.clone(), fields(value.boxed()).prop_map(Bson::from)];
        fields(nested.boxed())
    }

    fn fields(value: BoxedStrategy<Bson>) -> impl Strategy<Value = Document> + Clone {
        proptest::collection::btree_map("[abc]", value, 0..4).prop_map(|fields| fields.into_iter().collect())
    }

    /// Gives every document in `document` a field that nobody knows.
    fn with_unknown(document: &Document) -> Document {
        let mut with: Document =
            document.iter().map(|(field, value)| (field.clone(), value_with_unknown(value))).collect();
        with.insert("unknown", "kept");
        with
    }

    fn value_with_unknown(value: &Bson) -> Bson {
        match value {
            Bson::Document(document) => with_unknown(document).into(),
            Bson::Array(members) => Bson::Array(members.iter().map(value_with_unknown).collect()),
            other => other.clone(),
        }
    }

    /// `new` with the unknown fields of what it has kept of `old`.
    fn expected(old: &Document, new: &Document) -> Document {
        let mut expected: Document = new
            .iter()
            .map(|(field, value)| {
                let value = match (old.get(field), value) {
                    (Some(before), after) if before == after => value_with_unknown(after),
                    (Some(Bson::Document(before)), Bson::Document(after)) => expected(before, after).into(),
                    (Some(Bson::Array(before)), Bson::Array(after)) => match gained(before, after) {
                        None => value.clone(),
                        Some(gained) => {
                            let kept = after.len() - gained.len();
                            let kept = after[..kept].iter().map(value_with_unknown);
                            Bson::Array(kept.chain(gained).collect())
                        }
                    },
                    _ => value.clone(),
                };
                (field.clone(), value)
            })
            .collect();
        expected.insert("unknown", "kept");
        expected
    }

    /// Carries out an update as the database would.
    fn apply(mut document: Document, update: &Document) -> Document {
        for (operator, fields) in update {
            for (path, value) in fields.as_document().expect("fields") {
                let mut path: Vec<&str> = path.split('.').collect();
                let field = path.pop().expect("a field");
                let mut parent = &mut document;
                for part in path {
                    parent = parent.get_document_mut(part).expect("an embedded document");
                }
                match operator.as_str() {
                    "$set" => drop(parent.insert(field, value.clone())),
                    "$unset" => drop(parent.remove(field)),
                    "$push" => {
                        let value = value.as_document().expect("modifiers");
                        let list = parent.get_array_mut(field).expect("a list");
                        list.extend(value.get_array("$each").expect("members").clone());
                        let kept =
                            usize::try_from(-value.get_i64("$slice").expect("a number")).expect("negative");
                        list.drain(..list.len() - kept);
                    }
                    other => panic!("{other}"),
                }
            }
        }
        document
    }

    /// The order of fields does not count.
    fn sorted(value: &Bson) -> Bson {
        match value {
            Bson::Document(document) => {
                let mut fields: Vec<(String, Bson)> =
                    document.iter().map(|(field, value)| (field.clone(), sorted(value))).collect();
                fields.sort_by(|one, other| one.0.cmp(&other.0));
                Bson::Document(fields.into_iter().collect())
            }
            Bson::Array(members) => Bson::Array(members.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn a_document_becomes_the_new_one_and_keeps_what_nobody_knows(old in documents(), new in documents()) {
            let changed = apply(with_unknown(&old), &diff(&old, &new));
            prop_assert_eq!(sorted(&changed.into()), sorted(&expected(&old, &new).into()));
        }

        #[test]
        fn nothing_changes_what_is_alike(document in documents()) {
            prop_assert!(diff(&document, &document).is_empty());
        }
    }

    #[test]
    fn a_list_that_goes_on_is_not_written_anew() {
        let attempts = |numbers: std::ops::Range<i32>| doc! { "attempts": numbers.collect::<Vec<_>>() };
        let pushed = doc! { "$push": { "attempts": { "$each": [3], "$slice": -3_i64 } } };
        assert_eq!(diff(&attempts(1..3), &attempts(1..4)), pushed);
        assert_eq!(diff(&attempts(0..3), &attempts(1..4)), pushed);
        assert_eq!(diff(&attempts(0..0), &attempts(1..4)), doc! { "$set": { "attempts": [1, 2, 3] } });
    }
}
