//! Tables for people, JSON for programs.

use std::{
    borrow::Cow,
    io::{self, IsTerminal as _, Write as _},
};

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::value::RawValue;

use super::{arguments::Remote, failure::Failure};

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    json: bool,
}

impl Output {
    pub fn new(remote: &Remote) -> Output {
        Output { json: remote.json }
    }

    pub fn is_json(self) -> bool {
        self.json
    }

    /// A sentence on what was done, or `json` as the API sent it (nothing where it sent nothing).
    pub fn done(self, sentence: &str, json: &str) -> Result<(), Failure> {
        match (self.json, json.trim_end()) {
            (false, _) => line(sentence),
            (true, "") => Ok(()),
            (true, json) => line(json),
        }
    }

    /// Rows under `headers`, or the items themselves. `none` is said where there are none.
    pub fn list(
        self,
        items: &[Box<RawValue>],
        headers: &[&str],
        rows: Vec<Vec<String>>,
        none: &str,
    ) -> Result<(), Failure> {
        if self.json {
            return line(&listing(items));
        }
        if rows.is_empty() {
            note(none);
            return Ok(());
        }
        table(headers, rows)
    }
}

/// `{"items": […]}` of the items as the API sent them.
pub fn listing(items: &[Box<RawValue>]) -> String {
    let items: Vec<&str> = items.iter().map(|item| item.get()).collect();
    format!("{{\"items\":[{}]}}", items.join(","))
}

/// Prints a line on standard output.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")
        .and_then(|()| output.flush())
        .map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::OutputClosed,
            _ => Failure::Output(error),
        })
}

/// Prints a line on standard error.
pub fn note(text: &str) {
    // There is no third place to tell that standard error cannot be written.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a line on standard error where somebody watches.
pub fn progress(text: &str) {
    if io::stderr().is_terminal() {
        note(text);
    }
}

/// How far long work is, on standard error where somebody watches.
pub struct Bar(ProgressBar);

impl Bar {
    pub fn new(total: u64, what: &'static str) -> Bar {
        // Hidden where standard error is no terminal.
        let bar = ProgressBar::new(total);
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}  {per_sec}  {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Bar(bar)
    }

    pub fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Prints rows; on a terminal as wide as it, elsewhere one line each.
pub fn table(headers: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    line(&laid_out(headers, rows, io::stdout().is_terminal()))
}

/// Rows as [`table`] prints them where nobody watches.
pub fn rendered(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    laid_out(headers, rows, false)
}

/// Prints what belongs to one thing, a line for each.
pub fn pairs(pairs: &[(&str, String)]) -> Result<(), Failure> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in pairs {
        line(&format!("{name:width$}  {}", printable(value)))?;
    }
    Ok(())
}

fn laid_out(headers: &[&str], rows: Vec<Vec<String>>, fit: bool) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(if fit {
            ContentArrangement::Dynamic
        } else {
            ContentArrangement::Disabled
        })
        .set_header(headers.iter().copied());
    if !fit {
        table.force_no_tty();
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// `text` with its control characters escaped: what senders put into an event must not steer a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(char::is_control) {
        return Cow::Borrowed(text);
    }
    text.chars()
        .flat_map(|character| -> Box<dyn Iterator<Item = char>> {
            if character.is_control() {
                Box::new(character.escape_default())
            } else {
                Box::new(std::iter::once(character))
            }
        })
        .collect::<String>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::{laid_out, printable};

    #[test]
    fn tables_have_no_borders_and_a_line_a_row() {
        let rows = vec![
            vec![
                "call.ended".to_owned(),
                "1.0".to_owned(),
                "the first text".to_owned(),
            ],
            vec!["app.search".to_owned(), "5.10.0".to_owned(), "x".repeat(300)],
        ];
        assert_eq!(
            laid_out(&["TYPE", "SINCE", "NOTE"], rows, false),
            format!(
                "TYPE        SINCE   NOTE\ncall.ended  1.0     the first text\napp.search  5.10.0  {}",
                "x".repeat(300)
            )
        );
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\nc é"), "a\\u{1b}[31mb\\nc é");
        assert_eq!(
            laid_out(&["A"], vec![vec!["\u{1b}]0;x\u{7}".to_owned()]], false),
            "A\n\\u{1b}]0;x\\u{7}"
        );
    }
}
