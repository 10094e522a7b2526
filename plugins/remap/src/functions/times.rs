use headworks_plugin::Value;
use jiff::{
    Timestamp,
    civil::DateTime,
    fmt::strtime,
    tz::{Offset, TimeZone},
};

use crate::{bounds::PARSED_BYTES_MAX, place::text_of};

#[derive(Clone, Debug, PartialEq)]
pub struct TimeCast {
    pub to: TimeForm,
    /// As `strftime` writes it; none for RFC 3339, a date and time, and seconds or milliseconds since 1970.
    pub format: Option<String>,
    /// Of times that say none, and of dates that are written.
    pub offset: Offset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeForm {
    Date,
    EpochMs,
    EpochS,
    Rfc3339,
}

pub const TIME_FORMS: [(&str, TimeForm); 4] = [
    ("date", TimeForm::Date),
    ("epoch_ms", TimeForm::EpochMs),
    ("epoch_s", TimeForm::EpochS),
    ("rfc3339", TimeForm::Rfc3339),
];

impl TimeCast {
    pub fn apply(&self, value: &Value) -> Option<Value> {
        let text = match value {
            Value::Boolean(_) | Value::Null => return None,
            value => text_of(value)?,
        };
        if text.len() > PARSED_BYTES_MAX {
            return None;
        }
        let time = self.read(text.trim())?;
        Some(match self.to {
            TimeForm::Date => Value::Text(self.offset.to_datetime(time).date().to_string()),
            TimeForm::EpochMs => Value::Integer(time.as_millisecond()),
            TimeForm::EpochS => Value::Integer(time.as_second()),
            TimeForm::Rfc3339 => Value::Text(time.to_string()),
        })
    }

    fn read(&self, text: &str) -> Option<Timestamp> {
        let local: DateTime = match &self.format {
            Some(format) => {
                let parsed = strtime::parse(format, text).ok()?;
                if let Ok(time) = parsed.to_timestamp() {
                    return Some(time);
                }
                // A format may hold no time of day.
                match parsed.to_datetime() {
                    Ok(local) => local,
                    Err(_) => parsed.to_date().ok()?.at(0, 0, 0, 0),
                }
            }
            None if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => return epoch(text),
            None => {
                if let Ok(time) = text.parse() {
                    return Some(time);
                }
                text.parse().ok()?
            }
        };
        TimeZone::fixed(self.offset).to_timestamp(local).ok()
    }
}

/// Seconds below 10^11, milliseconds below 10^13.
fn epoch(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    match whole {
        0..100_000_000_000 => {
            let nanoseconds = format!("{:0<9}", fraction.get(..fraction.len().min(9))?);
            Timestamp::new(whole, nanoseconds.parse().ok()?).ok()
        }
        100_000_000_000..10_000_000_000_000 => Timestamp::from_millisecond(whole).ok(),
        // A date without separators, more likely: it takes a format.
        _ => None,
    }
}

/// `+09:00`.
pub fn offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let in_range = (0..=14).contains(&hours) && (0..60).contains(&minutes);
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60))
        .ok()
        .filter(|_| in_range)
}
