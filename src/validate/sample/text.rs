//! Strings: by format, by pattern, by length.

use serde_json::{Map, Value};

use super::{Dice, EXTRA_MAX, pattern};

/// A string that must be longer is not tried.
const CHARACTERS_MAX: u64 = 10_000;

pub(super) fn of(keywords: &Map<String, Value>, dice: &mut Dice) -> String {
    let bound = |name| keywords.get(name).and_then(Value::as_u64);
    let least = bound("minLength").unwrap_or(0).min(CHARACTERS_MAX);
    let most = bound("maxLength").unwrap_or(u64::MAX);
    let fits = |text: &str| (least..=most).contains(&(text.chars().count() as u64));
    if let Some(text) = keywords.get("pattern").and_then(Value::as_str)
        && let Some(parsed) = pattern::parse(text)
    {
        // A length is met by trying again: patterns with one are few.
        let mut made = pattern::text_of(&parsed, dice);
        for _ in 0..20 {
            if fits(&made) {
                break;
            }
            made = pattern::text_of(&parsed, dice);
        }
        return made;
    }
    if let Some(format) = keywords.get("format").and_then(Value::as_str)
        && let Some(text) = formatted(format, dice)
    {
        return text;
    }
    let length = match dice.below(4) {
        0 => least,
        1 => most.min(least + 300),
        _ => least + dice.below(most.saturating_sub(least).min(EXTRA_MAX * 4) + 1),
    };
    let letters: Vec<char> = "abcdefghijklmnop0123456789 한é_".chars().collect();
    (0..length).filter_map(|_| dice.pick(&letters)).collect()
}

fn formatted(format: &str, dice: &mut Dice) -> Option<String> {
    let number = dice.below(1 << 40);
    let (year, month, day) = (1990 + number % 40, 1 + number % 12, 1 + number % 28);
    let (hour, minute, second) = (number % 24, number % 60, number / 7 % 60);
    let zone = dice.pick(&["Z", "+09:00", "-03:30"])?;
    Some(match format {
        "date-time" => {
            let fraction = dice.pick(&["", ".412", ".000001"])?;
            format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}")
        }
        "date" => format!("{year}-{month:02}-{day:02}"),
        "time" => format!("{hour:02}:{minute:02}:{second:02}{zone}"),
        "duration" => format!("P{day}DT{hour}H"),
        "uuid" => format!("019a4c5e-7b1c-4d2e-9f00-{number:012x}"),
        "email" | "idn-email" => format!("member{number}@example.com"),
        "hostname" | "idn-hostname" => format!("host{number}.example.com"),
        "ipv4" => format!("192.0.2.{}", number % 256),
        "ipv6" => format!("2001:db8::{:x}", number % 0x1_0000),
        "uri" | "iri" => format!("https://example.com/page/{number}?q=1"),
        "uri-reference" | "iri-reference" => match number % 2 {
            0 => format!("/page/{number}"),
            _ => format!("https://example.com/{number}"),
        },
        "uri-template" => format!("https://example.com/{number}/{{id}}"),
        "json-pointer" => format!("/a/{number}"),
        "relative-json-pointer" => "1/a".to_owned(),
        "regex" => "^[a-z]+$".to_owned(),
        _ => return None,
    })
}
