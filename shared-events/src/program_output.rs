//! What a program gave: its exit code and the ends of its two outputs, within limits that count bytes as JSON writes them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job_error::{encoded, encoded_len};

/// What a program gave. The kinds that run programs answer this, and their attempts that failed show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgramOutput {
    /// What it exited with; absent where a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it, such as 9 for SIGKILL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// What it wrote to its standard output.
    pub stdout: Captured,
    /// What it wrote to its standard error.
    pub stderr: Captured,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
}

/// The end of what was written to an output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Captured {
    /// As text. A byte that is no part of UTF-8 is written as `\xff`, by its number, and `not_utf8` says so.
    pub text: String,
    /// How many bytes were written in all.
    pub bytes: u64,
    /// Whether what was written first is left out.
    pub cut: bool,
    /// Whether some bytes were no UTF-8.
    pub not_utf8: bool,
}

impl Captured {
    /// The most bytes that are kept, raw or as JSON writes them.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// The last bytes that were written, of so many in all; at most [`Self::MAX_BYTES`] as JSON writes them.
    #[must_use]
    pub fn new(last: &[u8], bytes: u64) -> Self {
        let is_cut = last.len() as u64 != bytes;
        // What is cut may begin within a character.
        let continued = last.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count();
        let last = if is_cut { &last[continued..] } else { last };
        let (mut text, mut not_utf8) = (String::with_capacity(last.len()), false);
        for chunk in last.utf8_chunks() {
            text.push_str(chunk.valid());
            for byte in chunk.invalid() {
                not_utf8 = true;
                text.push_str(&format!("\\x{byte:02x}"));
            }
        }
        Self { text, bytes, cut: is_cut, not_utf8 }.within(Self::MAX_BYTES)
    }

    /// The same, of which JSON writes at most so many bytes between the text's quotes.
    #[must_use]
    pub fn within(mut self, most: usize) -> Self {
        let start = tail(&self.text, most);
        if start > 0 {
            let start = if self.not_utf8 { after_escape(&self.text, start) } else { start };
            self.text.drain(..start);
            self.cut = true;
        }
        self
    }
}

/// Where the longest end of the text begins that JSON writes in at most so many bytes.
fn tail(text: &str, most: usize) -> usize {
    let mut left = most;
    for (at, character) in text.char_indices().rev() {
        match left.checked_sub(encoded(character)) {
            Some(rest) => left = rest,
            None => return at + character.len_utf8(),
        }
    }
    0
}

/// The same place, or the end of an escaped byte that it lies within.
fn after_escape(text: &str, start: usize) -> usize {
    (1..=3)
        .filter_map(|back| start.checked_sub(back))
        .find(|at| text.get(*at..*at + 2) == Some("\\x") && text.is_char_boundary(*at + 4))
        .map_or(start, |at| at + 4)
}

impl ProgramOutput {
    /// More than JSON writes besides the texts.
    const FRAME: usize = 320;

    /// At most how many bytes JSON writes for it.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        Self::FRAME + encoded_len(&self.stdout.text) + encoded_len(&self.stderr.text)
    }

    /// The same in about so many bytes of JSON, which the two outputs share: what one does not need, the other has.
    #[must_use]
    pub fn within(self, most: usize) -> Self {
        let most = most.saturating_sub(Self::FRAME);
        let (stdout, stderr) = (encoded_len(&self.stdout.text), encoded_len(&self.stderr.text));
        let of_stdout = stdout.min((most / 2).max(most.saturating_sub(stderr)));
        Self { stdout: self.stdout.within(of_stdout), stderr: self.stderr.within(most - of_stdout), ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &impl Serialize) -> usize {
        serde_json::to_string(value).unwrap().len()
    }

    #[test]
    fn bytes_that_are_no_utf8_are_shown_as_such() {
        let shown = Captured::new(b"a\xffb\xc3", 4);
        assert_eq!((shown.text.as_str(), shown.not_utf8, shown.cut), ("a\\xffb\\xc3", true, false));
        assert!(!Captured::new("\u{fc}".as_bytes(), 2).not_utf8);
    }

    #[test]
    fn what_is_cut_begins_with_a_whole_character() {
        // The second byte of an ü, and what follows.
        let shown = Captured::new(b"\xbcber", 100);
        assert_eq!((shown.text.as_str(), shown.not_utf8, shown.cut), ("ber", false, true));
        let escaped = Captured::new(b"\xffabc", 4);
        assert_eq!(escaped.clone().within(7).text, "abc");
        assert_eq!(escaped.within(8).text, "\\xffabc");
    }

    #[test]
    fn an_output_that_needs_less_leaves_it_to_the_other() {
        let captured = |bytes: usize| Captured::new(&vec![b'x'; bytes], bytes as u64);
        let output = ProgramOutput {
            exit_code: Some(1),
            signal: None,
            stdout: captured(10),
            stderr: captured(60_000),
            duration_ms: 1,
        };
        let short = output.within(4096);
        assert!(!short.stdout.cut && short.stderr.cut && short.stderr.text.len() > 3700);
        assert!(written(&short) <= 4096);
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let some =
            proptest::collection::vec(prop_oneof![any::<u8>(), 0_u8..32, Just(b'"'), Just(b'\\')], 0..200);
        (some, 1_usize..1000).prop_map(|(some, times)| some.repeat(times))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn whatever_is_written_stays_within_its_limits(stdout in bytes(), stderr in bytes(), more in 0_u64..2) {
            let of = |bytes: &[u8]| {
                let last = &bytes[bytes.len().saturating_sub(Captured::MAX_BYTES)..];
                Captured::new(last, bytes.len() as u64 + more)
            };
            let (stdout, stderr) = (of(&stdout), of(&stderr));
            for output in [&stdout, &stderr] {
                prop_assert!(written(&output.text) <= Captured::MAX_BYTES + 2);
                prop_assert_eq!(written(&output.text), encoded_len(&output.text) + 2);
            }
            let output = ProgramOutput {
                exit_code: Some(i32::MIN), signal: Some(i32::MIN), stdout, stderr, duration_ms: u64::MAX,
            };
            prop_assert!(written(&output) <= output.encoded_len());
            let short = output.clone().within(4096);
            prop_assert!(written(&short) <= 4096, "{}", written(&short));
            prop_assert!(output.stdout.text.ends_with(&short.stdout.text));
            prop_assert!(output.stderr.text.ends_with(&short.stderr.text));
        }
    }
}
