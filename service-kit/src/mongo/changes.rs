//! Many documents' changes in few statements.
//!
//! A statement costs the server nearly as much as what it does: its filter is parsed and planned each time. Changes
//! that ask for the same of their documents therefore share one, which looks each document's change up by its id.

use std::collections::HashMap;

use bson::{
    RawArrayBuf, RawBson, RawDocumentBuf,
    raw::{BindRawBsonRef, CStr, cstr},
    rawdoc,
};

use super::{Durability, Mongo, Statement, update::COMMAND_BYTES};
use crate::StoreError;

/// The most changes of one statement: beyond that, looking them up costs more than a statement of one's own.
const MEMBERS: usize = 200;

/// What is to become of one document, if it is as it should be.
#[derive(Debug, Clone)]
pub struct Change {
    /// The document's id.
    pub id: RawBson,
    /// What it must be like: a filter without the id. What shares it shares a statement.
    pub only_if: RawDocumentBuf,
    /// The fields that get a value, all of the top level.
    pub set: RawDocumentBuf,
    /// The fields that go.
    pub unset: &'static [&'static CStr],
    /// What lists get at their end, as the operands of `$push`. Such a change has a statement of its own.
    pub push: Option<RawDocumentBuf>,
}

impl Mongo {
    /// Carries out the changes, no two of one document; says of how many the document was as it should be.
    ///
    /// # Errors
    /// Those of [`Mongo::update`].
    pub async fn change(
        &self,
        collection: &str,
        changes: Vec<Change>,
        durability: Durability,
    ) -> Result<u64, StoreError> {
        self.update(collection, statements(changes), durability).await
    }
}

fn statements(changes: Vec<Change>) -> Vec<Statement> {
    let mut alike: HashMap<(Vec<u8>, &[&CStr]), Vec<Change>> = HashMap::new();
    let (lone, shared): (Vec<Change>, Vec<Change>) =
        changes.into_iter().partition(|change| change.push.is_some());
    for change in shared {
        alike.entry((change.only_if.as_bytes().to_vec(), change.unset)).or_default().push(change);
    }
    let mut statements: Vec<Statement> =
        lone.into_iter().filter_map(|change| statement(vec![change])).collect();
    for mut changes in alike.into_values() {
        while !changes.is_empty() {
            let rest = changes.split_off(fitting(&changes));
            statements.extend(statement(std::mem::replace(&mut changes, rest)));
        }
    }
    statements
}

/// How many of them fit into one statement; at least one.
fn fitting(changes: &[Change]) -> usize {
    let mut bytes = 0;
    let fits = |change: &&Change| {
        bytes += change.set.as_bytes().len() + 100;
        bytes <= COMMAND_BYTES
    };
    changes.iter().take(MEMBERS).take_while(fits).count().max(1)
}

/// Changes that ask for the same and remove the same, in one statement.
fn statement(mut changes: Vec<Change>) -> Option<Statement> {
    if changes.len() > 1 {
        return Some(lookup(changes));
    }
    let Change { id, only_if, set, unset, push } = changes.pop()?;
    let mut update = rawdoc! { "$set": set };
    if !unset.is_empty() {
        update.append(cstr!("$unset"), unset.iter().map(|field| (*field, "")).collect::<RawDocumentBuf>());
    }
    if let Some(push) = push {
        update.append(cstr!("$push"), push);
    }
    Some(Statement::one(with_id(id, &only_if), update))
}

/// One pipeline for all: the values at the place that the document's id has among the ids. All of it is literal,
/// since a client's text may look like an expression.
fn lookup(changes: Vec<Change>) -> Statement {
    let (mut ids, mut values) = (RawArrayBuf::new(), RawArrayBuf::new());
    let (mut only_if, mut unset): (_, &[&CStr]) = (RawDocumentBuf::new(), &[]);
    for change in changes {
        ids.push(change.id);
        values.push(change.set);
        (only_if, unset) = (change.only_if, change.unset);
    }
    let place = rawdoc! { "$indexOfArray": [{ "$literal": ids.clone() }, "$_id"] };
    let value = rawdoc! { "$arrayElemAt": [{ "$literal": values }, place] };
    let mut pipeline = RawArrayBuf::new();
    pipeline.push(rawdoc! { "$replaceWith": { "$mergeObjects": ["$$ROOT", value] } });
    if !unset.is_empty() {
        let fields = unset.iter().map(|field| field.as_str());
        pipeline.push(rawdoc! { "$unset": fields.collect::<RawArrayBuf>() });
    }
    Statement { filter: with_id(rawdoc! { "$in": ids }, &only_if), update: pipeline.into(), multi: true }
}

fn with_id(id: impl BindRawBsonRef, only_if: &RawDocumentBuf) -> RawDocumentBuf {
    let mut filter = RawDocumentBuf::new();
    filter.append(cstr!("_id"), id);
    for (field, condition) in only_if.iter().flatten() {
        filter.append(field, condition);
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUE: &[&CStr] = &[cstr!("due")];

    fn change(id: i32, status: &str, text: &str) -> Change {
        let (only_if, set) = (rawdoc! { "status": status }, rawdoc! { "text": text });
        Change { id: RawBson::Int32(id), only_if, set, unset: DUE, push: None }
    }

    #[test]
    fn what_asks_for_the_same_shares_a_statement() {
        let made = statements(vec![change(1, "a", ""), change(2, "b", ""), change(3, "a", "")]);
        let mut members: Vec<bool> = made.iter().map(|statement| statement.multi).collect();
        members.sort_unstable();
        assert_eq!(members, [false, true]);
    }

    #[test]
    fn what_adds_to_a_list_has_a_statement_of_its_own() {
        let adds = |id| Change { push: Some(rawdoc! { "list": 1 }), ..change(id, "a", "") };
        let made = statements(vec![adds(1), change(2, "a", ""), adds(3), change(4, "a", "")]);
        let mut members: Vec<bool> = made.iter().map(|statement| statement.multi).collect();
        members.sort_unstable();
        assert_eq!(members, [false, false, true]);
    }

    #[test]
    fn a_statement_is_not_larger_than_a_command() {
        let text = "x".repeat(COMMAND_BYTES / 3);
        assert_eq!(statements((0..7).map(|id| change(id, "a", &text)).collect()).len(), 4);
    }
}
