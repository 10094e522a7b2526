//! Strings to try: of each length that a bound speaks of, of patterns and of formats.

use std::{collections::BTreeSet, rc::Rc};

use regex_syntax::hir::{Class, Hir, HirKind, Look};
use serde_json::Value;

use super::{facts::Facts, node::Atom};

/// The longest string made.
const CHARACTERS_MAX: usize = 70_000;
const REPETITIONS_MAX: u32 = 70_000;

pub fn candidates(facts: &Facts, atoms: &[Rc<Atom>]) -> Vec<String> {
    let (least, most) = facts.lengths();
    let mut lengths = BTreeSet::from([least, least + 1, least + 3]);
    lengths.extend((most != u64::MAX).then_some(most));
    let mut found = Vec::new();
    let mut patterned = false;
    for atom in facts.each().chain(atoms.iter().map(AsRef::as_ref)) {
        match atom {
            Atom::LengthAtLeast(bound) => lengths.extend(bound.checked_sub(1)),
            Atom::LengthAtMost(bound) => lengths.extend(bound.checked_add(1)),
            Atom::Enum(values) => {
                let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
                for text in texts {
                    found.extend([format!("{text}x"), text.to_uppercase(), text.to_lowercase()]);
                }
            }
            _ => {}
        }
    }
    for atom in facts.each() {
        match atom {
            Atom::Pattern(pattern) => {
                patterned = true;
                found.extend(of_lengths(pattern, &lengths));
                found.extend(matching(pattern));
            }
            Atom::Format { name, .. } => {
                patterned = true;
                found.splice(0..0, of_format(name));
                found.extend(lengths.iter().filter_map(|length| long_format(name, *length)));
            }
            _ => {}
        }
    }
    let mut plain = Vec::new();
    for length in lengths {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length <= CHARACTERS_MAX {
            plain.extend(["a", "0", "A", "é", " "].map(|filler| filler.repeat(length)));
        }
    }
    plain.extend(["text", "Other text", "x-1", "1.0", "a@b.c", ""].map(str::to_owned));
    if patterned {
        found.extend(plain);
    } else {
        found.splice(0..0, plain);
    }
    found
}

/// Strings that `pattern` matches, repeated as little as it allows, once and thrice more.
pub fn matching(pattern: &str) -> Vec<String> {
    let Some(hir) = parsed(pattern) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for more in [0, 1, 3] {
        for variant in 0..3 {
            let mut text = String::new();
            if write(&hir, more, variant, &mut text) && !found.contains(&text) {
                found.push(text);
            }
        }
    }
    found
}

fn of_lengths(pattern: &str, lengths: &BTreeSet<u64>) -> Vec<String> {
    let Some(hir) = parsed(pattern) else {
        return Vec::new();
    };
    let mut shortest = String::new();
    if !write(&hir, 0, 0, &mut shortest) {
        return Vec::new();
    }
    let base = shortest.chars().count() as u64;
    let longer = lengths
        .iter()
        .filter(|length| **length > base && **length <= CHARACTERS_MAX as u64);
    longer
        .filter_map(|length| {
            let mut text = String::new();
            let more = u32::try_from(length - base).ok()?;
            write(&hir, more, 0, &mut text).then_some(text)
        })
        .collect()
}

fn parsed(pattern: &str) -> Option<Hir> {
    regex_syntax::parse(&jsonschema_regex::to_rust_regex(pattern).ok()?).ok()
}

/// Appends a string that `hir` matches; each repetition is done `more` times than it must be.
fn write(hir: &Hir, more: u32, variant: usize, text: &mut String) -> bool {
    if text.len() > CHARACTERS_MAX {
        return false;
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(literal) => {
                text.push_str(literal);
                true
            }
            Err(_) => false,
        },
        HirKind::Class(Class::Unicode(class)) => {
            let ranges: Vec<(char, char)> = class
                .ranges()
                .iter()
                .map(|range| (range.start(), range.end()))
                .collect();
            let wanted = ['a', '0', 'Z'];
            let first = wanted
                .iter()
                .cycle()
                .skip(variant)
                .take(wanted.len())
                .find(|letter| ranges.iter().any(|(start, end)| (start..=end).contains(letter)));
            match first.copied().or(ranges.first().map(|(start, _)| *start)) {
                Some(letter) => {
                    text.push(letter);
                    true
                }
                None => false,
            }
        }
        HirKind::Class(Class::Bytes(_)) => false,
        HirKind::Repetition(repetition) => {
            let times = repetition
                .min
                .saturating_add(more)
                .min(repetition.max.unwrap_or(u32::MAX));
            times <= REPETITIONS_MAX && (0..times).all(|_| write(&repetition.sub, more.min(1), variant, text))
        }
        HirKind::Capture(capture) => write(&capture.sub, more, variant, text),
        HirKind::Concat(parts) => parts.iter().all(|part| write(part, more, variant, text)),
        HirKind::Alternation(branches) => {
            let start = text.len();
            branches
                .iter()
                .cycle()
                .skip(variant % branches.len().max(1))
                .take(branches.len())
                .any(|branch| {
                    text.truncate(start);
                    write(branch, more, variant, text)
                })
        }
    }
}

fn of_format(name: &str) -> Vec<String> {
    let texts: &[&str] = match name {
        "date" => &["2026-11-25", "1970-01-01"],
        "date-time" => &["2026-11-25T12:00:00Z", "2026-11-25T12:00:00.123+09:00"],
        "time" => &["12:00:00Z", "12:00:00.5+09:00"],
        "duration" => &["P1D", "PT1H30M"],
        "email" | "idn-email" => &["someone@example.com", "a.b+c@example.co.kr"],
        "hostname" | "idn-hostname" => &["example.com", "localhost", "a-b.example.com"],
        "ipv4" => &["192.0.2.1", "0.0.0.0"],
        "ipv6" => &["2001:db8::1", "::"],
        "uri" | "iri" => &["https://example.com/a?b=c", "urn:example:a", "http://example.com"],
        "uri-reference" | "iri-reference" => &["https://example.com/a", "/a/b", "a", ""],
        "uri-template" => &["https://example.com/{a}", "a"],
        "uuid" => &[
            "0190163D-8694-739B-AEA5-966C26F8AD91",
            "0190163d-8694-739b-aea5-966c26f8ad91",
            "00000000-0000-0000-0000-000000000000",
        ],
        "json-pointer" => &["/a/b", "", "/0"],
        "relative-json-pointer" => &["0", "1/a"],
        "regex" => &["^a$", "[a-z]+", ""],
        _ => &[],
    };
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// A text of the format, of so many characters, where the format has such.
fn long_format(name: &str, length: u64) -> Option<String> {
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= CHARACTERS_MAX)?;
    let (start, end) = match name {
        "email" | "idn-email" => ("", "@example.com"),
        "uri" | "iri" | "uri-reference" | "iri-reference" => ("https://example.com/", ""),
        "json-pointer" => ("/", ""),
        "date-time" => ("2026-11-25T12:00:00.", "Z"),
        "uri-template" | "regex" => ("a", ""),
        _ => return None,
    };
    let filler = if name == "date-time" { "0" } else { "a" };
    let missing = length.checked_sub(start.len() + end.len())?;
    Some(format!("{start}{}{end}", filler.repeat(missing)))
}

/// How many characters a text of the format has, as far as the format says.
pub fn format_lengths(name: &str) -> (Option<u64>, Option<u64>) {
    match name {
        "date" => (Some(10), Some(10)),
        "date-time" => (Some(20), None),
        "uuid" => (Some(36), Some(36)),
        "ipv4" => (Some(7), Some(15)),
        // 64 before the sign, 254 behind it.
        "email" => (Some(3), Some(319)),
        _ => (None, None),
    }
}

/// How many characters a text has that the pattern matches. A pattern that is not bound to both ends says nothing of
/// the most.
pub fn pattern_lengths(pattern: &str) -> (Option<u64>, Option<u64>) {
    let Some(hir) = parsed(pattern) else {
        return (None, None);
    };
    let properties = hir.properties();
    let bound = properties.look_set_prefix().contains(Look::Start)
        && properties.look_set_suffix().contains(Look::End);
    let (least, most) = characters(&hir);
    (Some(least), most.filter(|_| bound))
}

fn characters(hir: &Hir) -> (u64, Option<u64>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => (0, Some(0)),
        HirKind::Literal(literal) => {
            let count = String::from_utf8_lossy(&literal.0).chars().count() as u64;
            (count, Some(count))
        }
        HirKind::Class(_) => (1, Some(1)),
        HirKind::Repetition(repetition) => {
            let (least, most) = characters(&repetition.sub);
            let most = match (most, repetition.max) {
                (Some(0), _) => Some(0),
                (Some(most), Some(times)) => most.checked_mul(times.into()),
                _ => None,
            };
            (least.saturating_mul(repetition.min.into()), most)
        }
        HirKind::Capture(capture) => characters(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(characters).fold((0, Some(0)), |all, part| {
            let most = all
                .1
                .zip(part.1)
                .and_then(|(one, two): (u64, u64)| one.checked_add(two));
            (all.0.saturating_add(part.0), most)
        }),
        HirKind::Alternation(branches) => {
            let branches: Vec<_> = branches.iter().map(characters).collect();
            let least = branches.iter().map(|branch| branch.0).min().unwrap_or(0);
            let most = branches
                .iter()
                .map(|branch| branch.1)
                .collect::<Option<Vec<u64>>>();
            (least, most.and_then(|most| most.into_iter().max()))
        }
    }
}
