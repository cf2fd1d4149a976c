//! Reads that a secondary may answer, and reads that decide something.
//!
//! A secondary answers at once or is passed over: where it finds nothing, fails or hangs, the primary is asked. As long as the
//! primary gives no answer either, since another one is being elected, the other secondaries are asked whether they have found
//! something: what a majority has acknowledged is on one of those that are left.

use std::{pin::pin, time::Duration};

use bson::Document;
use mongodb::options::{FindOptions, ReadConcern, ReadPreference, SelectionCriteria};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::{Mongo, Read, secondaries::any_of};
use crate::StoreError;

/// How long one member is waited for where another may answer.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long nobody is asked after all secondaries were, while the primary has not answered yet.
const PAUSE: Duration = Duration::from_millis(50);

/// How new an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// What a majority of the members has acknowledged, from the primary.
    Latest,
    /// A secondary may answer that is at most ten seconds behind; what finds nothing is asked of the primary.
    MayLag,
}

/// Who is asked, and for what.
#[derive(Debug, Clone)]
struct Asked {
    of: SelectionCriteria,
    concern: ReadConcern,
}

impl Asked {
    fn primary() -> Self {
        let of = SelectionCriteria::ReadPreference(ReadPreference::Primary);
        Self { of, concern: ReadConcern::majority() }
    }

    /// What it has, whether it knows that a majority has it or not: it learns that a little later.
    fn secondaries(addresses: Vec<String>) -> Self {
        Self { of: any_of(addresses), concern: ReadConcern::local() }
    }
}

impl Mongo {
    /// Reads documents that are as new as `freshness` says.
    ///
    /// # Errors
    /// Where the database does not answer; not where a document is not readable.
    pub async fn read_fresh<T: DeserializeOwned + Send>(
        &self,
        collection: &str,
        filter: Document,
        options: FindOptions,
        freshness: Freshness,
    ) -> Result<Read<T>, StoreError> {
        let ask = |asked: Asked| {
            let mut options = options.clone();
            (options.selection_criteria, options.read_concern) = (Some(asked.of), Some(asked.concern));
            self.read(collection, filter.clone(), options)
        };
        self.ask(freshness, ask, |read: &Read<T>| read.looked_at() > 0).await
    }

    /// Counts documents, as new as `freshness` says.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn count_fresh(
        &self,
        collection: &str,
        filter: Document,
        freshness: Freshness,
    ) -> Result<u64, StoreError> {
        let ask = |Asked { of, concern }: Asked| {
            let documents = self.collection::<Document>(collection);
            let filter = filter.clone();
            self.run(async move {
                documents.count_documents(filter).selection_criteria(of).read_concern(concern).await
            })
        };
        self.ask(freshness, ask, |count: &u64| *count > 0).await
    }

    async fn ask<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        freshness: Freshness,
        ask: impl Fn(Asked) -> F,
        has_found: impl Fn(&T) -> bool,
    ) -> Result<T, StoreError> {
        let near = || match freshness {
            Freshness::Latest => Vec::new(),
            Freshness::MayLag => self.secondaries.near(),
        };
        let ask = |of: Option<Vec<String>>| ask(of.map_or_else(Asked::primary, Asked::secondaries));
        spread(near, ask, has_found).await
    }
}

/// Asks any of the secondaries that are near, or the primary (none); see the module.
async fn spread<T, F: Future<Output = Result<T, StoreError>>>(
    near: impl Fn() -> Vec<String>,
    ask: impl Fn(Option<Vec<String>>) -> F,
    has_found: impl Fn(&T) -> bool,
) -> Result<T, StoreError> {
    let found = async |of: Vec<String>, patience| match timeout(patience, ask(Some(of))).await {
        Ok(Ok(answer)) if has_found(&answer) => Some(answer),
        _ => None,
    };
    let all = near();
    if !all.is_empty()
        && let Some(answer) = found(all, PATIENCE).await
    {
        return Ok(answer);
    }
    let mut primary = pin!(ask(None));
    // The primary says what counts, if it says something soon.
    let failed = match timeout(PATIENCE, &mut primary).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(failed) => Some(failed),
        Err(_) => None,
    };
    let others = async {
        for round in 1.. {
            for secondary in near() {
                if let Some(answer) = found(vec![secondary], PATIENCE * round.min(4)).await {
                    return Some(answer);
                }
            }
            if failed.is_some() {
                break;
            }
            sleep(PAUSE).await;
        }
        None
    };
    if failed.is_some() {
        return others.await.map_or_else(|| failed.unwrap_or(Err(StoreError::Unknown)), Ok);
    }
    tokio::select! {
        biased;
        answer = primary => answer,
        Some(answer) = others => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, future::pending};

    use super::*;

    #[derive(Debug, Clone, Copy)]
    enum Member {
        /// Has so many documents.
        Has(u64),
        Fails,
        Hangs,
    }
    use Member::{Fails, Hangs, Has};

    /// What comes of members that behave so, and who was asked first. Of several secondaries the first answers.
    async fn told(primary: Member, secondaries: &[(&str, Member)]) -> (Option<u64>, Vec<String>) {
        let asked = RefCell::new(Vec::new());
        let near = || secondaries.iter().map(|(name, _)| (*name).to_owned()).collect();
        let behaves = async |member| match member {
            Has(documents) => Ok(documents),
            Fails => Err(StoreError::Overloaded),
            Hangs => pending().await,
        };
        let ask = |of: Option<Vec<String>>| {
            let name = of.map_or_else(|| "primary".to_owned(), |of| of[0].clone());
            asked.borrow_mut().push(name.clone());
            let known = secondaries.iter().find(|(known, _)| *known == name);
            behaves(known.map_or(primary, |(_, member)| *member))
        };
        let spread = spread(near, ask, |documents| *documents > 0);
        let answer = timeout(Duration::from_secs(60), spread).await.ok().and_then(Result::ok);
        let mut asked = asked.into_inner();
        asked.truncate(4);
        (answer, asked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_secondary_answers_and_who_finds_nothing_asks_the_primary() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for (primary, secondaries, answer, asked) in [
            (Has(2), vec![], Some(2), names(&["primary"])),
            (Has(2), vec![("a", Has(1))], Some(1), names(&["a"])),
            (Has(2), vec![("a", Has(0))], Some(2), names(&["a", "primary"])),
            (Has(0), vec![("a", Has(0)), ("b", Has(1))], Some(0), names(&["a", "primary"])),
            (Has(2), vec![("a", Fails)], Some(2), names(&["a", "primary"])),
            (Has(2), vec![("a", Hangs)], Some(2), names(&["a", "primary"])),
            // While there is no primary, another secondary may have it; that there is nothing, none can say.
            (Hangs, vec![("a", Has(0)), ("b", Has(1))], Some(1), names(&["a", "primary", "a", "b"])),
            (Fails, vec![("a", Fails), ("b", Has(1))], Some(1), names(&["a", "primary", "a", "b"])),
            (Fails, vec![("a", Has(0)), ("b", Has(0))], None, names(&["a", "primary", "a", "b"])),
            (Hangs, vec![("a", Hangs), ("b", Hangs)], None, names(&["a", "primary", "a", "b"])),
            (Fails, vec![], None, names(&["primary"])),
        ] {
            assert_eq!(told(primary, &secondaries).await, (answer, asked), "{primary:?} {secondaries:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_hangs_costs_less_than_a_second() {
        for (primary, secondaries) in [
            (Has(1), vec![("a", Hangs)]),
            (Hangs, vec![("a", Has(0)), ("b", Has(1))]),
            (Hangs, vec![("a", Hangs), ("b", Has(1))]),
        ] {
            let begun = tokio::time::Instant::now();
            assert_eq!(told(primary, &secondaries).await.0, Some(1));
            assert!(begun.elapsed() < Duration::from_secs(1), "{primary:?} {secondaries:?}");
        }
    }
}
