//! `hasty top`: the workers, queues and latest jobs of a running Hasty on the whole screen, anew each second.

mod state;
mod view;
mod watch;

use std::{
    io::{IsTerminal, stdout},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::Args;
use hasty_client::{Client, Settings, Timestamp};
use ratatui::{DefaultTerminal, crossterm::event};
use tokio::sync::mpsc;

use self::{
    state::{Next, State},
    watch::watch,
};

/// How long an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// How often ages are drawn anew where nothing else changes.
const DRAW_EVERY: Duration = Duration::from_millis(500);

/// How long the keyboard is waited for at a time.
const KEY_WAIT: Duration = Duration::from_millis(250);

/// The options of `top`.
#[derive(Debug, Args)]
pub struct Options {
    /// The address of the API
    #[arg(long, env = "HASTY_URL", default_value = "http://127.0.0.1:8080")]
    url: String,
}

/// Shows it until somebody presses q.
///
/// # Errors
/// Where this is no terminal, or it breaks.
pub async fn command(options: Options) -> Result<ExitCode> {
    ensure!(stdout().is_terminal(), "top needs a terminal; with Docker: docker compose run --rm top");
    let settings = Settings { retries: 0, answer_timeout: ANSWER_TIMEOUT, ..Settings::default() };
    let client = Client::with_settings(&options.url, settings)?;
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, client, State::new(options.url)).await;
    ratatui::restore();
    shown.map(|()| ExitCode::SUCCESS)
}

async fn show(terminal: &mut DefaultTerminal, client: Client, mut state: State) -> Result<()> {
    let (mut seen, mut events) = (watch(client), events());
    let mut draw = tokio::time::interval(DRAW_EVERY);
    loop {
        terminal.draw(|frame| view::render(frame, &state, Timestamp::now()))?;
        tokio::select! {
            _ = draw.tick() => {}
            Some(seen) = seen.recv() => state.take_in(seen),
            event = events.recv() => match event {
                // Another size is drawn as any other change.
                Some(event) => if state.act_on(&event?) == Next::Quit { return Ok(()) },
                None => return Ok(()),
            },
        }
    }
}

/// Keys and changes of the terminal's size, from a thread of its own, which ends when nobody listens any more.
fn events() -> mpsc::Receiver<std::io::Result<event::Event>> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        while !sender.is_closed() {
            let event = match event::poll(KEY_WAIT) {
                Ok(false) => continue,
                Ok(true) => event::read(),
                Err(error) => Err(error),
            };
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    receiver
}
