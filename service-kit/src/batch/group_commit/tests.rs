use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

use super::*;

impl Weigh for usize {
    fn weight(&self) -> usize {
        *self
    }
}

#[tokio::test]
async fn a_lone_item_goes_at_once_and_others_form_a_group_meanwhile() {
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let group = {
        let (started, go_on, sizes) = (Arc::clone(&started), Arc::clone(&go_on), Arc::clone(&sizes));
        GroupCommit::start(GroupLimits::default(), move |items: Vec<usize>| {
            let (started, go_on) = (Arc::clone(&started), Arc::clone(&go_on));
            sizes.lock().unwrap().push(items.len());
            async move {
                started.notify_one();
                go_on.notified().await;
                items.into_iter().map(Ok).collect()
            }
        })
    };
    let submit = |item| {
        let group = group.clone();
        tokio::spawn(async move { group.submit(item).await })
    };
    let first = submit(1);
    started.notified().await;
    let others: Vec<_> = (2..7).map(submit).collect();
    while group.queue.capacity() > 4096 - 5 {
        tokio::task::yield_now().await;
    }
    go_on.notify_one();
    started.notified().await;
    go_on.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), 1);
    for (other, item) in others.into_iter().zip(2..) {
        assert_eq!(other.await.unwrap().unwrap(), item);
    }
    assert_eq!(*sizes.lock().unwrap(), [1, 5]);
}

#[tokio::test(start_paused = true)]
async fn under_load_a_group_grows_for_a_while_unless_it_is_large_enough() {
    let (pacing, takes) = (Duration::from_millis(1000), Duration::from_millis(500));
    let limits = GroupLimits { pacing, ..GroupLimits::default() };
    let group = GroupCommit::start(limits, move |items: Vec<usize>| async move {
        tokio::time::sleep(takes).await;
        items.into_iter().map(Ok).collect()
    });
    let started = Instant::now();
    let mut answered = Vec::new();
    for members in [2, 3, BATCH_ENOUGH, 1, 1] {
        group.submit_all(vec![1; members]).await;
        answered.push(started.elapsed().as_millis());
    }
    // The second waits until a second after the first began, the fourth the same after the third; the last
    // follows a lone one.
    assert_eq!(answered, [500, 1500, 2000, 3000, 3500]);
}

#[tokio::test]
async fn one_bad_member_does_not_hurt_the_others() {
    let group = GroupCommit::start(GroupLimits::default(), |items: Vec<usize>| async move {
        items.into_iter().map(|item| if item == 2 { Err(StoreError::Overloaded) } else { Ok(item) }).collect()
    });
    let answers = group.submit_all(vec![1, 2, 3]).await;
    assert!(matches!(answers.as_slice(), [Ok(1), Err(_), Ok(3)]));
}

#[tokio::test]
async fn a_group_is_not_larger_than_a_command_may_be() {
    let largest = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&largest);
    let group = GroupCommit::start(GroupLimits::default(), move |items: Vec<usize>| {
        seen.fetch_max(items.iter().sum(), Ordering::Relaxed);
        async move { items.into_iter().map(Ok).collect() }
    });
    let answers = group.submit_all(vec![GROUP_BYTES / 3; 20]).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(largest.load(Ordering::Relaxed) <= GROUP_BYTES);
}

#[tokio::test]
async fn over_the_limit_a_caller_waits_briefly_and_is_told() {
    let limits =
        GroupLimits { waiting: 1, queue_timeout: Duration::from_millis(20), ..GroupLimits::default() };
    let group = GroupCommit::start(limits, |_: Vec<usize>| std::future::pending::<Vec<Answer<()>>>());
    let waiting: Vec<_> = (0..2)
        .map(|item| {
            let group = group.clone();
            tokio::spawn(async move { group.submit(item).await })
        })
        .collect();
    while group.queue.capacity() > 0 {
        tokio::task::yield_now().await;
    }
    let third = loop {
        // Until its task has taken the first, the second has no place either.
        tokio::task::yield_now().await;
        if group.queue.capacity() == 0 {
            break group.submit(9).await;
        }
    };
    assert!(matches!(third, Err(StoreError::Overloaded)));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn members_wait_by_their_bytes_as_well() {
    let limits = GroupLimits { waiting_bytes: 10, ..GroupLimits::default() };
    let group = GroupCommit::start(limits, |items: Vec<usize>| async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        items.into_iter().map(Ok).collect()
    });
    let (first, second) = tokio::join!(group.submit(6), group.submit(6));
    assert!(matches!((first, second), (Ok(6), Err(StoreError::Overloaded))));
    assert!(group.submit(6).await.is_ok());
    // One that is larger than all that may wait is taken alone.
    assert!(group.submit(60).await.is_ok());
}

#[tokio::test]
async fn a_command_that_does_not_end_has_an_unknown_outcome() {
    let limits = GroupLimits { deadline: Duration::from_millis(20), ..GroupLimits::default() };
    let group = GroupCommit::start(limits, |_: Vec<usize>| std::future::pending::<Vec<Answer<()>>>());
    assert!(matches!(group.submit(1).await, Err(StoreError::Unknown)));
}
