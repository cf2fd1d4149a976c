use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::telemetry::lines::Lines;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn receivers_are_addresses() {
    for (text, shown) in [
        ("logs:5170", "tcp://logs:5170"),
        ("tls://logs.example:6514", "tls://logs.example:6514"),
        ("tcp://[::1]:1", "tcp://[::1]:1"),
    ] {
        assert_eq!(text.parse::<Receiver>().unwrap().to_string(), shown);
    }
    for text in ["logs", "logs:", "logs:0", "logs:70000", "http://logs:1", ":5170", "a b:1", "u@logs:1"] {
        assert!(text.parse::<Receiver>().is_err(), "{text}");
    }
}

struct Log {
    queue: Arc<Queue>,
    lines: Lines,
}

impl Log {
    fn to(listener: &TcpListener, max_bytes: usize) -> Self {
        let to = format!("127.0.0.1:{}", listener.local_addr().unwrap().port()).parse().unwrap();
        let queue = start(to, None, max_bytes).unwrap();
        Self { lines: Lines::to(vec![Arc::clone(&queue)], false), queue }
    }

    /// As the formatter does: it may come in parts.
    fn line(&self, line: &str) {
        let mut writer = self.lines.make_writer();
        let (one, other) = line.split_at(line.len() / 2);
        for part in [one, other, "\n"] {
            writer.write_all(part.as_bytes()).unwrap();
        }
    }
}

fn listener() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).unwrap()
}

fn lines(stream: TcpStream) -> impl Iterator<Item = String> {
    BufReader::new(stream).lines().map_while(Result::ok)
}

#[test]
fn lines_come_whole_and_in_order_and_all_before_the_end() {
    let listener = listener();
    let log = Log::to(&listener, 1 << 20);
    let expected: Vec<String> = (0..1000).map(|number| format!("line {number}")).collect();
    expected.iter().for_each(|line| log.line(line));
    log.queue.close(MINUTE);
    let (stream, _) = listener.accept().unwrap();
    let read = thread::spawn(|| lines(stream).collect::<Vec<_>>());
    log.queue.wait_for_end();
    assert!(log.queue.is_over());
    assert_eq!(read.join().unwrap(), expected);
}

#[test]
fn a_receiver_that_comes_later_gets_what_waited() {
    let first = listener();
    let address = first.local_addr().unwrap();
    let log = Log::to(&first, 1 << 20);
    drop(first);
    log.line("while it was away");
    let listener = TcpListener::bind(address).unwrap();
    let (stream, _) = listener.accept().unwrap();
    assert_eq!(lines(stream).next().as_deref(), Some("while it was away"));
}

#[test]
fn a_receiver_that_closes_in_the_middle_of_a_line_gets_whole_ones_when_it_is_back() {
    let listener = listener();
    let log = Log::to(&listener, 16 << 20);
    // More than the system's buffers have room for, so that it ends within one of them.
    let line = "x".repeat(1 << 20);
    for _ in 0..12 {
        log.line(&line);
    }
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 10]).unwrap();
    // With much of it unread: a reset.
    drop(stream);
    let (stream, _) = listener.accept().unwrap();
    let mut lines = lines(stream);
    let first = lines.next().unwrap();
    assert!(first == line, "{} bytes of one", first.len());
    log.line("the last");
    assert!(lines.any(|line| line == "the last"));
}

/// Every connection costs both sides something.
#[test]
fn a_receiver_that_takes_connections_only_to_close_them_is_asked_ever_more_seldom() {
    let listener = listener();
    let log = Log::to(&listener, 1 << 20);
    log.line("x");
    let begun = Instant::now();
    for _ in 0..5 {
        drop(listener.accept().unwrap());
        log.line("x");
    }
    // The pauses are 100, 200, 400 and 800 ms, a quarter less or more.
    assert!(begun.elapsed() >= Duration::from_millis(1125), "{:?}", begun.elapsed());
}

/// Whoever logs goes on, memory stays bounded, and the rest is counted.
#[test]
fn a_receiver_that_reads_nothing_holds_up_nobody_and_gets_whole_lines_once_it_reads() {
    let listener = listener();
    let log = Log::to(&listener, 1 << 20);
    let (stream, _) = listener.accept().unwrap();
    let line = "x".repeat(64 * 1024);
    // More than the queue and the system's buffers have room for.
    for _ in 0..1024 {
        log.line(&line);
    }
    assert!(log.queue.dropped() > 0);
    let mut lines = lines(stream);
    for _ in 0..10 {
        assert!(lines.next().unwrap() == line);
    }
}

#[test]
fn the_end_does_not_wait_for_a_receiver_that_reads_nothing() {
    let listener = listener();
    let log = Log::to(&listener, 64 << 20);
    for _ in 0..1024 {
        log.line(&"x".repeat(64 * 1024 - 100));
    }
    let (stream, _) = listener.accept().unwrap();
    let begun = Instant::now();
    log.queue.close(Duration::from_millis(100));
    log.queue.wait_for_end();
    // Much less than its writes may take.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(stream);
}
