//! Tables as they are sent: NDJSON and CSV. Strict: one line at fault refuses the whole.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use bytes::Bytes;

use super::{
    builder::{Builder, invalid},
    rows::Rows,
};
use crate::{
    json::{Document, Kind, Node, write_string},
    limits::{ByteSize, TABLE_COLUMNS, TABLE_ROW_BYTES, TABLE_ROW_DEPTH},
    problem::Problem,
    registry::model::TableFormat,
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// What the CSV reader is handed at a time.
const CSV_READ_BYTES: usize = 8 << 10;

/// Reads a table whose rows are found by the value of the member or column `key`. `bytes_max` bounds the rows as JSON.
///
/// # Errors
///
/// `table-invalid`, with what is wrong by line.
pub fn read(data: &Bytes, format: TableFormat, key: &str, bytes_max: ByteSize) -> Result<Rows, Problem> {
    let data = match data.strip_prefix(BYTE_ORDER_MARK) {
        Some(rest) => data.slice_ref(rest),
        None => data.clone(),
    };
    let mut builder = Builder::new(bytes_max, data.len());
    match format {
        TableFormat::Ndjson => read_ndjson(&data, key, &mut builder)?,
        TableFormat::Csv => read_csv(&data, key, &mut builder)?,
    }
    builder.finish()
}

fn read_ndjson(data: &Bytes, key: &str, builder: &mut Builder) -> Result<(), Problem> {
    let mut begin = 0;
    let mut number = 0;
    while begin < data.len() {
        number += 1;
        let rest = data.get(begin..).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = data.slice(begin..begin + length);
        begin += length + 1;
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        // Before it is parsed, which takes memory in proportion.
        if !builder.takes_row_of(text.len(), number) {
            continue;
        }
        let indent = line.len() - line.trim_ascii_start().len();
        let document = match Document::parse(line.slice_ref(text), TABLE_ROW_DEPTH) {
            Ok(document) => document,
            Err(error) => {
                let column = indent + error.offset + 1;
                builder.fault(
                    number,
                    format_args!("{}, at byte {column} of the line", error.kind),
                );
                continue;
            }
        };
        let row = document.root();
        match key_of(row, key) {
            Ok(text) => builder.push(number, &text, row.raw())?,
            Err(fault) => builder.fault(number, fault),
        }
    }
    Ok(())
}

fn key_of<'n>(row: Node<'n>, key: &str) -> Result<Cow<'n, str>, String> {
    if row.kind() != Kind::Object {
        return Err("a row is an object".to_owned());
    }
    let Some(value) = row.get(key) else {
        return Err(format!(
            "there is no member {key:?}, which is to be the key: say which one is"
        ));
    };
    if let Some(text) = value.as_str() {
        return Ok(text);
    }
    let is_whole = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match value.kind() {
        Kind::Number if is_whole(value.raw()) => Ok(Cow::Borrowed(value.raw())),
        _ => Err(format!(
            "the key, {key:?}, must be a text or a whole number without fraction and exponent"
        )),
    }
}

/// The data in pieces, and an error where a row has taken more than one may have: the reader holds a row whole, with some
/// bytes for each of its cells, before anybody can look at it.
struct Bounded<'d> {
    rest: &'d [u8],
    /// What may still be read before the next row is there.
    left: usize,
}

impl Bounded<'_> {
    /// A row begins. Of the bytes before it none are counted, of those that were read ahead neither.
    fn begin_row(&mut self) {
        self.left = TABLE_ROW_BYTES + CSV_READ_BYTES;
    }
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.rest.len()).min(CSV_READ_BYTES);
        let (piece, rest) = self.rest.split_at(length);
        // Not the ends of lines: any number of empty ones may stand between two rows.
        let counted = piece.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')).count();
        self.left = self
            .left
            .checked_sub(counted)
            .ok_or_else(|| io::Error::other("a row is too long"))?;
        if let Some(place) = buffer.get_mut(..length) {
            place.copy_from_slice(piece);
        }
        self.rest = rest;
        Ok(length)
    }
}

/// The next row of the CSV; `Ok(false)`: there is none.
fn next_row(reader: &mut csv::Reader<Bounded<'_>>, record: &mut csv::ByteRecord) -> Result<bool, csv::Error> {
    reader.get_mut().begin_row();
    reader.read_byte_record(record)
}

/// Whether the row is longer than one may be: the data comes from memory, and nothing else fails.
fn is_too_long(error: &csv::Error) -> bool {
    matches!(error.kind(), csv::ErrorKind::Io(_))
}

fn line_of(record: &csv::ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

fn read_csv(data: &Bytes, key: &str, builder: &mut Builder) -> Result<(), Problem> {
    let bytes_max = ByteSize(TABLE_ROW_BYTES as u64);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        // A row of another length is a fault with its line.
        .flexible(true)
        .buffer_capacity(CSV_READ_BYTES)
        .from_reader(Bounded { rest: data, left: 0 });
    let mut record = csv::ByteRecord::new();
    let unreadable = |error: csv::Error| match is_too_long(&error) {
        true => invalid(format!("line 1: the row of names has more than {bytes_max}")),
        false => invalid(format!("the CSV cannot be read: {error}")),
    };
    if !next_row(&mut reader, &mut record).map_err(unreadable)? {
        return Err(invalid("the table holds nothing: CSV begins with a row of names"));
    }
    let columns = columns(&record)?;
    let Some(key_column) = columns.iter().position(|column| column == key) else {
        let known: Vec<_> = columns
            .iter()
            .take(20)
            .map(|column| format!("{column:?}"))
            .collect();
        return Err(invalid(format!(
            "there is no column {key:?}, which is to be the key: say which one is. There are {}",
            known.join(", ")
        )));
    };
    let names: Vec<Vec<u8>> = columns.iter().map(|column| quoted(column)).collect();
    let mut row = Vec::new();
    loop {
        match next_row(&mut reader, &mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if is_too_long(&error) => {
                // Where it ends is not looked for: a quotation mark that nobody closes makes one row of all the rest.
                builder.fault(
                    line_of(&record),
                    format_args!("the row has more than {bytes_max}, and what comes after it was not read"),
                );
                break;
            }
            Err(error) => return Err(unreadable(error)),
        }
        let line = line_of(&record);
        if record.len() != names.len() {
            let (found, wanted) = (record.len(), names.len());
            builder.fault(
                line,
                format_args!("the row has {found} cells, and the first row names {wanted} columns"),
            );
            continue;
        }
        let Some(key) = record
            .get(key_column)
            .and_then(|cell| std::str::from_utf8(cell).ok())
        else {
            builder.fault(line, "the key is not UTF-8");
            continue;
        };
        match write_row(&mut row, &names, &record) {
            Ok(text) => builder.push(line, key, text)?,
            Err(fault) => builder.fault(line, fault),
        }
    }
    Ok(())
}

fn columns(record: &csv::ByteRecord) -> Result<Vec<String>, Problem> {
    if record.len() > TABLE_COLUMNS {
        return Err(invalid(format!(
            "the table has more than {TABLE_COLUMNS} columns"
        )));
    }
    let mut columns: Vec<String> = Vec::with_capacity(record.len());
    for cell in record {
        let name = std::str::from_utf8(cell).map_err(|_| invalid("line 1: a column's name is not UTF-8"))?;
        if name.is_empty() {
            return Err(invalid("line 1: a column has no name"));
        }
        if columns.iter().any(|known| known == name) {
            return Err(invalid(format!("line 1: the column {name:?} stands there twice")));
        }
        columns.push(name.to_owned());
    }
    Ok(columns)
}

fn quoted(text: &str) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    write_string(&mut quoted, text);
    quoted
}

/// The row as an object of texts.
fn write_row<'r>(
    row: &'r mut Vec<u8>,
    names: &[Vec<u8>],
    record: &csv::ByteRecord,
) -> Result<&'r str, String> {
    row.clear();
    let too_long = || {
        let max = ByteSize(TABLE_ROW_BYTES as u64);
        format!("the row has more than {max} as JSON")
    };
    if record.as_slice().len() > TABLE_ROW_BYTES {
        return Err(too_long());
    }
    for (name, cell) in names.iter().zip(record) {
        let text = std::str::from_utf8(cell).map_err(|_| {
            format!(
                "the cell of the column {} is not UTF-8",
                String::from_utf8_lossy(name)
            )
        })?;
        row.push(if row.is_empty() { b'{' } else { b',' });
        row.extend_from_slice(name);
        row.push(b':');
        write_string(row, text);
        // Long names and many columns make a long row of a short line.
        if row.len() > TABLE_ROW_BYTES {
            return Err(too_long());
        }
    }
    row.push(b'}');
    std::str::from_utf8(row).map_err(|_| "the row is not UTF-8".to_owned())
}
