//! Waiting on conditions, never on the clock. A wait that fails says what it saw last.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What one look can answer: `Ok`, `Some` or `true` end the wait; `Err`, `None` or `false` are looked at again.
pub trait Look {
    /// What the wait gives when it is over.
    type Found;
    /// What was found, or what was seen instead.
    fn found(self) -> Result<Self::Found, String>;
}

impl<T, E: Display> Look for Result<T, E> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:#}"))
    }
}

impl<T> Look for Option<T> {
    type Found = T;
    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".into())
    }
}

impl Look for bool {
    type Found = ();
    fn found(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("it is not so".into()) }
    }
}

/// Looks again and again until it finds what is waited for; after `timeout` it fails and says what it saw last.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # use std::time::Duration;
/// let mut looks = 0;
/// let answer = stack::poll::until("the third look", Duration::from_secs(1), || {
///     looks += 1;
///     let look = looks;
///     async move { if look == 3 { Ok("found") } else { Err(format!("look {look}")) } }
/// });
/// assert_eq!(answer.await.unwrap(), "found");
/// # });
/// ```
pub async fn until<L, F>(what: &str, timeout: Duration, mut look: impl FnMut() -> F) -> Result<L::Found>
where
    L: Look,
    F: Future<Output = L>,
{
    let deadline = Instant::now() + timeout;
    let mut last_seen = String::from("no answer at all");
    let mut pause = SHORTEST_PAUSE;
    loop {
        // A look that hangs is cut at the deadline too.
        match tokio::time::timeout_at(deadline, look()).await.map(Look::found) {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => last_seen = seen,
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} in vain for {what}; last seen: {last_seen}");
        }
        tokio::time::sleep_until(deadline.min(Instant::now() + pause)).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_in_vain_says_what_it_waited_for_and_what_it_saw() {
        let mut looks = 0;
        let failure = until("a miracle", Duration::from_secs(2), || {
            looks += 1;
            let seen = format!("look {looks}");
            async move { Err::<(), _>(seen) }
        })
        .await
        .unwrap_err()
        .to_string();
        assert!(failure.contains("a miracle") && failure.contains(&format!("look {looks}")), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_is_cut_at_the_deadline() {
        let failure = until("an answer", Duration::from_secs(2), std::future::pending::<bool>).await;
        assert!(failure.unwrap_err().to_string().contains("no answer at all"));
    }

    #[tokio::test]
    async fn it_ends_with_what_it_found() {
        let mut left = 3;
        let found = until("zero", Duration::from_secs(5), || {
            left -= 1;
            let found = (left == 0).then_some("zero");
            async move { found }
        });
        assert_eq!(found.await.unwrap(), "zero");
    }
}
