//! The worker, at the other end of the supervisor's pipes. Whether it takes what it is sent hinders nothing else.

use std::{io, os::fd::AsFd};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    net::unix::pipe,
};

use super::super::protocol::{Order, Report, Request};

/// See the module.
pub(super) struct Worker {
    lines: Lines<BufReader<pipe::Receiver>>,
    output: pipe::Sender,
    is_gone: bool,
    /// What it has not taken yet.
    unsent: Vec<u8>,
}

impl Worker {
    pub(super) fn connect() -> anyhow::Result<Self> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let output = io::stdout().as_fd().try_clone_to_owned()?;
        let input = pipe::Receiver::from_owned_fd(input).context("the standard input is no pipe")?;
        let output = pipe::Sender::from_owned_fd(output).context("the standard output is no pipe")?;
        Ok(Self { lines: BufReader::new(input).lines(), output, is_gone: false, unsent: Vec::new() })
    }

    /// What to do; nothing where the worker is gone already.
    pub(super) async fn order(&mut self) -> anyhow::Result<Option<Order>> {
        let line = self.lines.next_line().await.context("could not read the order")?;
        line.map(|line| serde_json::from_str(&line).context("the order is not readable")).transpose()
    }

    /// What it asks for next, or that it is gone; meanwhile sends what there is to send.
    pub(super) async fn hear_and_send(&mut self) -> Heard {
        if self.is_gone {
            std::future::pending::<()>().await;
        }
        let Self { lines, output, unsent, .. } = self;
        tokio::select! {
            line = lines.next_line() => match line {
                // There is only one request; whatever a newer worker asks for, to stop is always right.
                Ok(Some(_)) => Heard::Request(Request::Stop),
                Ok(None) | Err(_) => {
                    self.is_gone = true;
                    Heard::End
                }
            },
            () = send(output, unsent) => Heard::Nothing,
        }
    }

    /// Whether it has taken all that was sent, and would take more.
    pub(super) fn is_idle(&self) -> bool {
        self.unsent.is_empty() && !self.is_gone
    }

    /// Has something sent, as soon as the worker takes it.
    pub(super) fn say(&mut self, report: &Report) -> anyhow::Result<()> {
        self.unsent.append(&mut serde_json::to_vec(report)?);
        self.unsent.push(b'\n');
        Ok(())
    }

    /// Says how it ended, if somebody is there to hear it.
    pub(super) async fn report(&mut self, report: &Report) -> anyhow::Result<()> {
        self.say(report)?;
        while !self.is_gone && !self.unsent.is_empty() {
            send(&self.output, &mut self.unsent).await;
        }
        Ok(())
    }
}

/// What was heard of a worker.
pub(super) enum Heard {
    /// Nothing: it has taken something.
    Nothing,
    Request(Request),
    /// It is gone.
    End,
}

/// Sends some of it; waits for ever where there is nothing to send.
async fn send(output: &pipe::Sender, unsent: &mut Vec<u8>) {
    if unsent.is_empty() {
        std::future::pending::<()>().await;
    }
    if output.writable().await.is_err() {
        return unsent.clear();
    }
    match output.try_write(unsent) {
        Ok(sent) => drop(unsent.drain(..sent)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        // It reads no more; that it is gone the other pipe says.
        Err(_) => unsent.clear(),
    }
}
