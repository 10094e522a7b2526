//! The last lines that a plugin wrote on this node, and why its calls failed. Whoever writes waits for no reader.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;

use super::log::LogLevel;
use crate::{event::PartnerName, limits};

/// One line, and whose event it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLine {
    /// Ascending in the order of writing on this node, from 1.
    pub sequence: u64,
    pub at: Timestamp,
    /// `NAME@VERSION`.
    pub label: Arc<str>,
    pub partner: PartnerName,
    pub event_id: Arc<str>,
    pub level: LogLevel,
    /// Escaped and cut.
    pub message: String,
}

/// The lines of one plugin, all its versions together.
pub(super) struct KeptLog {
    slots: Box<[ArcSwapOption<KeptLine>]>,
    written: AtomicU64,
}

impl Default for KeptLog {
    fn default() -> KeptLog {
        KeptLog {
            slots: (0..limits::PLUGIN_LOG_LINES_KEPT)
                .map(|_| ArcSwapOption::empty())
                .collect(),
            written: AtomicU64::new(0),
        }
    }
}

impl KeptLog {
    /// `line` has no sequence yet.
    pub(super) fn write(&self, mut line: KeptLine) {
        if let Some((end, _)) = line
            .message
            .char_indices()
            .nth(limits::PLUGIN_LOG_CHARACTERS_KEPT)
        {
            line.message.truncate(end);
            line.message.push('…');
        }
        line.sequence = self.written.fetch_add(1, Ordering::Relaxed) + 1;
        let place = usize::try_from(line.sequence).unwrap_or(0) % self.slots.len();
        self.slots[place].store(Some(Arc::new(line)));
    }

    /// The oldest first.
    pub(super) fn read(&self) -> Vec<Arc<KeptLine>> {
        let mut lines: Vec<_> = self.slots.iter().filter_map(ArcSwapOption::load_full).collect();
        lines.sort_unstable_by_key(|line| line.sequence);
        lines
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{KeptLine, KeptLog};
    use crate::{limits, transform::LogLevel};

    #[test]
    fn the_last_lines_are_kept_in_their_order() {
        let log = KeptLog::default();
        let most = limits::PLUGIN_LOG_LINES_KEPT;
        for number in 0..most + 10 {
            log.write(KeptLine {
                sequence: 0,
                at: Timestamp::UNIX_EPOCH,
                label: "calls@1".into(),
                partner: "bridge".parse().expect("a name"),
                event_id: "one".into(),
                level: LogLevel::Info,
                message: format!("{number} {}", "x".repeat(5000)),
            });
        }
        let lines = log.read();
        assert_eq!(lines.len(), most);
        assert!(lines[0].message.starts_with("10 "));
        assert!(lines.is_sorted_by_key(|line| line.sequence));
        assert_eq!(
            lines[0].message.chars().count(),
            limits::PLUGIN_LOG_CHARACTERS_KEPT + 1
        );
    }
}
