//! What a plugin writes to the log during one call: few lines, short ones, with nothing that could forge another.

use super::bindings::headworks::plugin::host::Level;
use crate::limits;

/// One line of a plugin's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub level: LogLevel,
    /// Escaped and cut.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LogLevel {
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Warn => "warn",
            LogLevel::Error => "error",
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> LogLevel {
        match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        }
    }
}

/// The lines of the running call.
#[derive(Default)]
pub(super) struct CallLog {
    lines: Vec<LogLine>,
    bytes: usize,
    dropped: u64,
}

impl CallLog {
    pub(super) fn write(&mut self, level: Level, message: &str) {
        let room = limits::PLUGIN_LOG_BYTES.saturating_sub(self.bytes);
        if self.lines.len() >= limits::PLUGIN_LOG_LINES || room == 0 {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let message = escape(message, room);
        self.bytes += message.len();
        self.lines.push(LogLine {
            level: level.into(),
            message,
        });
    }

    /// The text of the last error line, which tells why a plugin trapped.
    pub(super) fn last_error(&self) -> Option<&str> {
        self.lines
            .iter()
            .rev()
            .find(|line| line.level == LogLevel::Error)
            .map(|line| line.message.as_str())
    }

    /// The lines of the call that has ended, with a last one that counts what was dropped.
    pub(super) fn take(&mut self) -> Vec<LogLine> {
        if self.dropped > 0 {
            self.lines.push(LogLine {
                level: LogLevel::Warn,
                message: format!("{} more lines for this event were dropped", self.dropped),
            });
        }
        self.bytes = 0;
        self.dropped = 0;
        std::mem::take(&mut self.lines)
    }
}

/// A text of any length, without what could forge a line.
pub(super) fn escaped(text: &str) -> String {
    escape(text, usize::MAX)
}

/// `message` without control characters, at most `room` bytes and an ellipsis.
fn escape(message: &str, room: usize) -> String {
    let mut escaped = String::with_capacity(message.len().min(room).saturating_add(4));
    for character in message.chars() {
        let length = escaped.len();
        if character.is_control() || is_invisible(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
        if escaped.len() > room {
            escaped.truncate(length);
            escaped.push('…');
            break;
        }
    }
    escaped
}

/// Characters that turn or hide the text around them.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{CallLog, Level, LogLevel, escape};
    use crate::limits;

    #[test]
    fn a_line_can_forge_no_other() {
        assert_eq!(escape("a\nb\u{1b}[2J\u{202e}c", 100), "a\\nb\\u{1b}[2J\\u{202e}c");
    }

    #[test]
    fn keeps_other_scripts_as_they_are() {
        assert_eq!(escape("전화 통화 종료", 100), "전화 통화 종료");
    }

    #[test]
    fn cuts_between_characters() {
        assert_eq!(escape("한국어", 7), "한국…");
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let mut log = CallLog::default();
        for number in 0..1000 {
            log.write(Level::Info, &format!("line {number}"));
        }
        let lines = log.take();
        assert_eq!(lines.len(), limits::PLUGIN_LOG_LINES + 1);
        let last = lines.last().expect("lines were written");
        assert_eq!(last.level, LogLevel::Warn);
        assert_eq!(last.message, "980 more lines for this event were dropped");
        assert!(log.take().is_empty());
    }

    #[test]
    fn long_lines_share_the_bytes() {
        let mut log = CallLog::default();
        for _ in 0..3 {
            log.write(Level::Error, &"x".repeat(3000));
        }
        let bytes: usize = log.take().iter().map(|line| line.message.len()).sum();
        assert!(bytes < limits::PLUGIN_LOG_BYTES + 100, "{bytes}");
    }
}
