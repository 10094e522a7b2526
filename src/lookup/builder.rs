//! Gathers rows and what is wrong with them.

use std::hash::RandomState;

use super::rows::{Entry, FREE, Rows};
use crate::{
    limits::{ByteSize, TABLE_FAULTS_LISTED, TABLE_KEY_BYTES, TABLE_ROW_BYTES, TABLE_ROWS},
    problem::{Code, Fault, Problem},
};

/// Characters of a key that a fault tells.
const KEY_CHARACTERS_TOLD: usize = 80;

pub(super) struct Builder {
    text: String,
    entries: Vec<Entry>,
    /// Of each entry, where it stood.
    lines: Vec<u32>,
    row_bytes: u64,
    bytes_max: ByteSize,
    faults: Vec<Fault>,
    faults_found: u64,
}

impl Builder {
    pub(super) fn new(bytes_max: ByteSize, bytes_expected: usize) -> Builder {
        Builder {
            text: String::with_capacity(bytes_expected),
            entries: Vec::new(),
            lines: Vec::new(),
            row_bytes: 0,
            bytes_max,
            faults: Vec::new(),
            faults_found: 0,
        }
    }

    pub(super) fn fault(&mut self, line: u64, message: impl std::fmt::Display) {
        self.faults_found += 1;
        if self.faults.len() < TABLE_FAULTS_LISTED {
            self.faults.push(Fault {
                pointer: String::new(),
                message: format!("line {line}: {message}"),
                keyword: None,
            });
        }
    }

    /// Whether a row may have so many bytes as JSON; where it may not, that is the line's fault.
    pub(super) fn takes_row_of(&mut self, length: usize, line: u64) -> bool {
        let is_taken = length <= TABLE_ROW_BYTES;
        if !is_taken {
            let max = ByteSize(TABLE_ROW_BYTES as u64);
            self.fault(
                line,
                format_args!("the row has {length} bytes as JSON; at most {max} are taken"),
            );
        }
        is_taken
    }

    /// Takes a row.
    ///
    /// # Errors
    ///
    /// Where the whole is too large: nothing more need be read.
    pub(super) fn push(&mut self, line: u64, key: &str, row: &str) -> Result<(), Problem> {
        if key.is_empty() {
            self.fault(line, "the key is empty");
            return Ok(());
        }
        if key.len() > TABLE_KEY_BYTES {
            let length = key.len();
            self.fault(
                line,
                format_args!("the key has {length} bytes; at most {TABLE_KEY_BYTES} are taken"),
            );
            return Ok(());
        }
        if !self.takes_row_of(row.len(), line) {
            return Ok(());
        }
        if self.entries.len() >= TABLE_ROWS {
            return Err(invalid(format!("the table has more than {TABLE_ROWS} rows")));
        }
        self.row_bytes += row.len() as u64;
        if self.row_bytes > self.bytes_max.0 {
            return Err(invalid(format!(
                "the rows of the table have more than {} as JSON (limits.table_bytes)",
                self.bytes_max
            )));
        }
        let too_large = || invalid("the table is too large");
        self.entries.push(Entry {
            start: u32::try_from(self.text.len()).map_err(|_| too_large())?,
            key_bytes: u32::try_from(key.len()).map_err(|_| too_large())?,
        });
        self.lines.push(u32::try_from(line).unwrap_or(u32::MAX));
        self.text.push_str(key);
        self.text.push_str(row);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Rows, Problem> {
        let slots = (2 * self.entries.len()).next_power_of_two();
        let mut rows = Rows {
            text: std::mem::take(&mut self.text).into_boxed_str(),
            entries: std::mem::take(&mut self.entries).into_boxed_slice(),
            slots: vec![FREE; slots].into_boxed_slice(),
            hasher: RandomState::new(),
        };
        self.index(&mut rows);
        match self.faults_found {
            0 if rows.is_empty() => Err(invalid("the table holds no row: to have none, delete the table")),
            0 => Ok(rows),
            found => {
                let lines = if found == 1 { "line" } else { "lines" };
                let listed = match found > TABLE_FAULTS_LISTED as u64 {
                    true => format!("; the first {TABLE_FAULTS_LISTED} are listed"),
                    false => String::new(),
                };
                Err(invalid(format!(
                    "{found} {lines} of the table cannot be taken, and so nothing was changed: see errors{listed}"
                ))
                .with_errors(self.faults))
            }
        }
    }

    fn index(&mut self, rows: &mut Rows) {
        for number in 0..rows.entries.len() {
            let Some((key, _)) = rows.entry(number) else {
                continue;
            };
            let mut slot = rows.first_slot(key);
            let twin = loop {
                match rows.slots.get(slot) {
                    None | Some(&FREE) => break None,
                    Some(&known) => {
                        if rows.entry(known as usize).is_some_and(|(other, _)| other == key) {
                            break Some(known as usize);
                        }
                    }
                }
                slot = rows.next_slot(slot);
            };
            if let Some(twin) = twin {
                let told: String = key.chars().take(KEY_CHARACTERS_TOLD).collect();
                let line = |number: usize| self.lines.get(number).copied().unwrap_or(0);
                let (line, first) = (line(number), line(twin));
                self.fault(
                    line.into(),
                    format_args!("the key {told:?} stands at line {first} already"),
                );
            } else if let (Some(place), Ok(number)) = (rows.slots.get_mut(slot), u32::try_from(number)) {
                *place = number;
            }
        }
    }
}

pub(super) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::TableInvalid, detail)
}
