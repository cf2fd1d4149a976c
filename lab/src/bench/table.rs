//! Tables of text: the first column to the left, all others to the right.

/// A table that is filled line by line.
#[derive(Debug)]
pub(super) struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { lines: vec![header.map(str::to_owned).into()] }
    }

    pub(super) fn line(&mut self, cells: impl IntoIterator<Item = String>) {
        self.lines.push(cells.into_iter().collect());
    }

    /// Indented by two, with an empty line before.
    pub(super) fn text(&self) -> String {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::from("\n");
        for line in &self.lines {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            text.push_str(format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end());
            text.push('\n');
        }
        text
    }
}

/// A number with as many digits as mean something, and thousands set apart.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.*}", if value.abs() < 10.0 { 3 } else { 1 });
    }
    let digits = format!("{value:.0}");
    let first = digits.len() % 3;
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 3 == first && digits.as_bytes()[index - 1] != b'-' {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["", "jobs/s"]);
        table.line(["median".into(), number(12_345.6)]);
        assert_eq!(table.text(), "\n          jobs/s\n  median  12,346\n");
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let shown = [0.1234, 12.34, 123.4, 1234.0, 123_456.0, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.123", "12.3", "123", "1,234", "123,456", "1,234,567"]);
    }
}
