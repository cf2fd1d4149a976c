//! What both commands need of the terminal.

use std::io::{IsTerminal, stdout};

/// Colours of the replicas' names, told apart by what the eye can: 36 cyan, 32 green, 33 yellow, …
const COLOURS: [u8; 6] = [36, 32, 33, 35, 34, 31];

/// Whether a person is looking.
pub(crate) fn is_watched() -> bool {
    stdout().is_terminal()
}

/// Text in a colour, where a person is looking and has not asked for none.
pub(crate) fn coloured(text: &str, colour: u8) -> String {
    let plain = !is_watched() || std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    if plain { text.to_owned() } else { format!("\x1b[{colour}m{text}\x1b[0m") }
}

/// One line of a process's log as it is shown.
pub(crate) fn log_line(name: &str, line: &str) -> String {
    let sum: usize = name.bytes().map(usize::from).sum();
    let colour = if name == "stack" { 1 } else { COLOURS[sum % COLOURS.len()] };
    format!("{} {line}", coloured(&format!("{name:>9} |"), colour))
}
