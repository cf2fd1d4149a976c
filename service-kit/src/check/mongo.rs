//! Of MongoDB: whether it answers, its version, kind and clock, the right to write, free space, and the indexes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bson::{Document, doc};
use tokio::time::Instant;

use super::{Findings, bytes, is_at_least};
use crate::{Mongo, StoreError, mongo::IndexesOf, telemetry::chain};

/// The oldest version that has all that is used.
const OLDEST: (u32, u32) = (6, 0);

/// Where the document goes that shows the right to write.
const CHECKS: &str = "checks";

/// From how far on a clock is told. Services go by the database's clock, and logs by the machine's own.
const CLOCK: Duration = Duration::from_secs(1);

/// How much of a disk is to be free, of a hundred parts: below it is told, and below that it is an error.
const FREE: u64 = 20;
const LITTLE_FREE: u64 = 5;

/// Checks the database, and that it has these indexes.
pub async fn check_mongo(mongo: &Mongo, indexes: &[IndexesOf]) -> Findings {
    let mut findings = Findings::default();
    let asked = (Instant::now(), SystemTime::now());
    let hello = match mongo.command(doc! { "hello": 1 }).await {
        Ok(hello) => hello,
        Err(error) => {
            findings.error("MongoDB", format!("does not answer: {}", chain(&error)));
            return findings;
        }
    };
    let took = asked.0.elapsed();
    findings.ok("MongoDB", format!("answers within {} ms, {}", took.as_millis().max(1), kind(&hello)));
    clock(&hello, asked.1 + took / 2, &mut findings);
    if let Err(error) = ask(mongo, indexes, &mut findings).await {
        findings.error("MongoDB", format!("does not answer any more: {}", chain(&error)));
    }
    findings
}

async fn ask(mongo: &Mongo, indexes: &[IndexesOf], findings: &mut Findings) -> Result<(), StoreError> {
    let about = mongo.command(doc! { "buildInfo": 1 }).await?;
    let version = about.get_str("version").unwrap_or("unknown");
    if is_at_least(version, OLDEST) {
        findings.ok("MongoDB version", version);
    } else {
        let (major, minor) = OLDEST;
        findings.error("MongoDB version", format!("{version}; {major}.{minor} or later is needed"));
    }
    match write(mongo).await {
        Ok(took) => {
            findings.ok("MongoDB rights", format!("a journaled write takes {} ms", took.as_millis().max(1)));
        }
        Err(error) => findings.error("MongoDB rights", format!("could not write: {}", chain(&error))),
    }
    space(&mongo.command(doc! { "dbStats": 1 }).await?, findings);
    let differences = mongo.index_differences(indexes).await?;
    if differences.is_empty() {
        let count: usize = indexes.iter().map(|of| of.indexes.len()).sum();
        findings.ok("MongoDB indexes", format!("{count}, all as this version has them"));
    }
    for difference in differences {
        let what = format!("index {}.{}", difference.collection, difference.index);
        match difference.found {
            None => findings.warning(what, "is not there; the service makes it when it starts"),
            Some(found) => findings.error(what, format!("is another than this version's: {found}; drop it")),
        }
    }
    Ok(())
}

fn kind(hello: &Document) -> String {
    let Ok(set) = hello.get_str("setName") else { return "a single server".to_owned() };
    let members = hello.get_array("hosts").map_or(0, Vec::len);
    match hello.get_str("primary") {
        Ok(primary) => format!("the replica set {set} of {members}, primary {primary}"),
        Err(_) => format!("the replica set {set} of {members}, which has no primary"),
    }
}

fn clock(hello: &Document, here: SystemTime, findings: &mut Findings) {
    let Ok(there) = hello.get_datetime("localTime") else { return };
    let here =
        here.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    let ahead = here - there.timestamp_millis();
    let offset = Duration::from_millis(ahead.unsigned_abs());
    let way = if ahead < 0 { "behind" } else { "ahead of" };
    let found = format!("{:.3} s {way} MongoDB's", offset.as_secs_f64());
    if offset > CLOCK {
        findings.warning("clock", format!("{found}; what is logged here is dated wrongly, or all else is"));
    } else {
        findings.ok("clock", found);
    }
}

/// Writes a document and removes it; how long the first took.
async fn write(mongo: &Mongo) -> Result<Duration, StoreError> {
    let id = bson::Uuid::new();
    let checks = mongo.collection::<Document>(CHECKS);
    let begun = Instant::now();
    let insert = checks.clone();
    mongo.run(async move { insert.insert_one(doc! { "_id": id }).await }).await?;
    let took = begun.elapsed();
    mongo.run(async move { checks.delete_one(doc! { "_id": id }).await }).await?;
    Ok(took)
}

fn space(stats: &Document, findings: &mut Findings) {
    let number = |name: &str| {
        let value = stats.get(name)?;
        let whole = value.as_i64().or(value.as_i32().map(i64::from));
        #[allow(clippy::cast_possible_truncation, reason = "bytes of a disk")]
        let whole = whole.or(value.as_f64().map(|number| number as i64));
        whole.and_then(|number| u64::try_from(number).ok())
    };
    let (Some(total), Some(used)) = (number("fsTotalSize").filter(|total| *total > 0), number("fsUsedSize"))
    else {
        findings.ok("MongoDB disk", "not told by this server");
        return;
    };
    let free = total.saturating_sub(used);
    let parts = free * 100 / total;
    let found = format!("{} of {} free ({parts} %)", bytes(free), bytes(total));
    match parts {
        ..LITTLE_FREE => findings.error("MongoDB disk", found),
        LITTLE_FREE..FREE => findings.warning("MongoDB disk", found),
        _ => findings.ok("MongoDB disk", found),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    #[test]
    fn little_space_is_told() {
        for (used, level) in [(10, Level::Ok), (81, Level::Warning), (96, Level::Error)] {
            let mut findings = Findings::default();
            space(&doc! { "fsTotalSize": 100.0, "fsUsedSize": used }, &mut findings);
            assert_eq!(findings.worst(), level, "{findings}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told() {
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        let hello = doc! { "localTime": bson::DateTime::from_millis(100_000) };
        for (here, level) in [(100_900, Level::Ok), (101_100, Level::Warning), (98_000, Level::Warning)] {
            let mut findings = Findings::default();
            clock(&hello, at(here), &mut findings);
            assert_eq!(findings.worst(), level, "{findings}");
        }
    }
}
