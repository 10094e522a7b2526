//! The order of app versions: dotted numbers, then pre-release.

use std::{cmp::Ordering, fmt};

use smallvec::SmallVec;

/// An app version, ordered by its dotted numbers, then by its pre-release: `5.2` = `5.2.0` < `5.10.0-rc1` < `5.10.0`.
/// A leading `v` and build numbers (`+812`, ` (build 812)`) are understood and do not count. What people write, and how
/// it is read, is the table of `docs/versions.md`.
#[derive(Clone, Debug)]
pub struct AppVersion {
    /// Without trailing zeros.
    numbers: SmallVec<[u64; 4]>,
    pre_release: Option<Vec<Identifier>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

/// Numbers of a version that [`AppVersion::order_key`] looks at.
const KEY_NUMBERS: usize = 4;

impl AppVersion {
    /// The version that `text` names, or none where it cannot be read as one.
    pub fn parse(text: &str) -> Option<AppVersion> {
        plain(text).or_else(|| AppVersion::parse_any(text))
    }

    /// One number that keeps the order: of a version that is below another it is never above the other's. Of nearly all
    /// it tells which is which; where it is the same, the versions themselves say.
    pub fn order_key(&self) -> u128 {
        const NUMBER_BITS: u32 = 31;
        const NUMBER_MAX: u64 = (1 << NUMBER_BITS) - 1;
        let (mut key, mut is_over) = (0_u128, false);
        for index in 0..KEY_NUMBERS {
            let number = self.numbers.get(index).copied().unwrap_or_default();
            // Behind a number that is too large for its place nothing tells two versions apart.
            is_over |= number > NUMBER_MAX;
            key = key << NUMBER_BITS | u128::from(if is_over { NUMBER_MAX } else { number });
        }
        let is_final = self.pre_release.is_none() || is_over || self.numbers.len() > KEY_NUMBERS;
        key << 1 | u128::from(is_final)
    }

    fn parse_any(text: &str) -> Option<AppVersion> {
        let text = without_prefix(text.trim());
        let numbers_end = text
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(text.len());
        let (dotted, rest) = text.split_at(numbers_end);
        let dotted = dotted.strip_suffix('.').unwrap_or(dotted);
        let mut numbers = SmallVec::new();
        for part in dotted.split('.') {
            numbers.push(part.parse().ok()?);
        }
        let is_dotted = numbers.len() > 1;
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        let pre_release = match rest.chars().next() {
            None => None,
            Some(' ' | '\t') => after_space(rest),
            Some('+' | '(' | '[' | '/') => None,
            Some(first) if is_separator(first) => some(identifiers(until_build(rest))),
            // `5f3c9a1` is a commit and no version; `5b2` is one.
            Some(first) if first.is_ascii_alphabetic() && (is_dotted || begins_pre_release(rest)) => {
                some(identifiers(until_build(rest)))
            }
            Some(_) => return None,
        };
        Some(AppVersion { numbers, pre_release })
    }
}

/// What nearly all apps send: a few short numbers with dots between them. None says nothing.
fn plain(text: &str) -> Option<AppVersion> {
    let mut numbers = SmallVec::<[u64; 4]>::new();
    let (mut number, mut digits) = (0, 0);
    for byte in text.bytes().chain([b'.']) {
        match byte {
            b'0'..=b'9' if digits < 18 => {
                number = number * 10 + u64::from(byte - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && numbers.len() < 4 => {
                numbers.push(number);
                (number, digits) = (0, 0);
            }
            _ => return None,
        }
    }
    while numbers.len() > 1 && numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(AppVersion {
        numbers,
        pre_release: None,
    })
}

/// What stands before the number in `v5.10`, `V. 5.10` or `version 5.10`.
fn without_prefix(text: &str) -> &str {
    let letters_end = text
        .find(|character: char| !character.is_ascii_alphabetic())
        .unwrap_or(text.len());
    if letters_end == 0 {
        return text;
    }
    let (word, rest) = text.split_at(letters_end);
    if ["v", "ver", "version"]
        .iter()
        .any(|known| word.eq_ignore_ascii_case(known))
    {
        rest.strip_prefix('.').unwrap_or(rest).trim_start()
    } else {
        text
    }
}

/// Words that say of what follows a number that it came before it.
const PRE_RELEASE_WORDS: [&str; 14] = [
    "a", "alpha", "b", "beta", "c", "canary", "debug", "dev", "m", "nightly", "pre", "preview", "rc",
    "snapshot",
];

fn begins_pre_release(text: &str) -> bool {
    let end = text
        .find(|character: char| !character.is_ascii_alphabetic())
        .unwrap_or(text.len());
    PRE_RELEASE_WORDS
        .iter()
        .any(|word| text[..end].eq_ignore_ascii_case(word))
}

/// Of `5.10 beta 2` the pre-release, of `5.10 (build 812)` nothing.
fn after_space(rest: &str) -> Option<Vec<Identifier>> {
    let rest = rest.trim_start();
    let words = rest.strip_prefix(['(', '[']).unwrap_or(rest);
    if !begins_pre_release(words) {
        return None;
    }
    let end = words.find(['(', '[', ')', ']', '+', '/']).unwrap_or(words.len());
    some(identifiers(&words[..end]))
}

fn until_build(rest: &str) -> &str {
    let end = rest.find([' ', '\t', '(', '[', '+', '/']).unwrap_or(rest.len());
    &rest[..end]
}

fn some(identifiers: Vec<Identifier>) -> Option<Vec<Identifier>> {
    (!identifiers.is_empty()).then_some(identifiers)
}

/// `rc1`, `rc.1` and `rc-1` are the same: letters and digits part where they meet.
fn identifiers(text: &str) -> Vec<Identifier> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let separator = is_separator(first);
        let end = rest
            .find(|character: char| {
                is_separator(character) != separator || (!separator && character.is_ascii_digit() != digits)
            })
            .unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        rest = after;
        if separator {
            continue;
        }
        found.push(match part.parse() {
            Ok(number) if digits => Identifier::Number(number),
            _ => Identifier::Word(part.to_ascii_lowercase()),
        });
    }
    found
}

fn is_separator(character: char) -> bool {
    matches!(character, '.' | '-' | '_' | '~' | ' ' | '\t')
}

impl Ord for AppVersion {
    fn cmp(&self, other: &AppVersion) -> Ordering {
        // Without trailing zeros, the longer of two that begin alike is the higher.
        self.numbers
            .cmp(&other.numbers)
            .then_with(|| match (&self.pre_release, &other.pre_release) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(one), Some(two)) => one.cmp(two),
            })
    }
}

impl PartialOrd for AppVersion {
    fn partial_cmp(&self, other: &AppVersion) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for AppVersion {
    fn eq(&self, other: &AppVersion) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for AppVersion {}

impl fmt::Display for AppVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.numbers.iter().enumerate() {
            if index > 0 {
                formatter.write_str(".")?;
            }
            write!(formatter, "{number}")?;
        }
        for (index, identifier) in self.pre_release.iter().flatten().enumerate() {
            formatter.write_str(if index == 0 { "-" } else { "." })?;
            match identifier {
                Identifier::Number(number) => write!(formatter, "{number}")?,
                Identifier::Word(word) => formatter.write_str(word)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::{AppVersion, plain};

    fn version(text: &str) -> AppVersion {
        AppVersion::parse(text).unwrap_or_else(|| panic!("{text} is a version"))
    }

    #[test]
    fn orders_as_the_contract_says() {
        let ascending = [
            "0",
            "1.9",
            "5.2",
            "5.10.0-alpha",
            "5.10.0-rc1",
            "5.10.0-rc.2",
            "5.10.0-rc10",
            "5.10.0",
            "5.10.0.0.1-rc1",
            "5.10.0.0.1",
            "5.10.1",
            "5.2147483647.7",
            "5.2147483648.9",
            "5.2147483649.1-rc1",
            "6.0-rc1",
            "1001",
            "2026.11.3",
        ];
        for pair in ascending.windows(2) {
            let [one, two] = [version(pair[0]), version(pair[1])];
            assert!(one < two, "{} < {}", pair[0], pair[1]);
            assert!(one.order_key() <= two.order_key(), "{} < {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn spellings_of_one_version_are_equal() {
        for (one, two) in [
            ("5.2", "5.2.0"),
            ("v5.10", "5.10.0"),
            ("5.10 (build 812)", "5.10"),
            ("5.10.0+812", "5.10.0"),
            ("5.10.0-rc1", "5.10.0-rc.1"),
            ("5.10.0-RC1", "5.10-rc1"),
            ("0.0", "0"),
        ] {
            assert_eq!(version(one), version(two), "{one} = {two}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_no_version() {
        for text in [
            "",
            "v",
            "beta",
            "-1",
            ".",
            "5..10",
            "5,10",
            "5f3c9a1",
            "App 5.10",
            "99999999999999999999999.1",
        ] {
            assert!(AppVersion::parse(text).is_none(), "{text:?}");
        }
    }

    /// Versions as people write them, and what only looks like one.
    fn written() -> impl Strategy<Value = String> {
        let numbers = "[0-9]{1,4}(\\.([0-9]{1,8}|214748364[6-9]|[0-3])){0,5}\\.?";
        let before = prop::sample::select(vec!["", "v", "V", "v.", "version ", "Ver. ", " ", "x"]);
        let after = prop_oneof![
            Just(String::new()),
            "[-_.~ ]?(rc|beta|a|SNAPSHOT|x)?[-_.~ ]?[0-9]{0,20}",
            "(\\+|/| \\(build )[0-9]{1,5}\\)?",
            "[-._~ ()+a-c0-2\u{e9}]{0,8}",
        ];
        (before, numbers, after).prop_map(|(before, numbers, after)| format!("{before}{numbers}{after}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_order_is_total(texts in prop::collection::vec(written(), 3)) {
            let found: Vec<_> = texts.iter().filter_map(|text| AppVersion::parse(text)).collect();
            for one in &found {
                prop_assert_eq!(one.cmp(one), Ordering::Equal);
                for two in &found {
                    prop_assert_eq!(one.cmp(two), two.cmp(one).reverse());
                    prop_assert_eq!(one == two, one.cmp(two).is_eq());
                    if one <= two {
                        prop_assert!(one.order_key() <= two.order_key(), "{} {}", one, two);
                    }
                    for three in &found {
                        if one <= two && two <= three {
                            prop_assert!(one <= three);
                        }
                    }
                }
            }
        }

        #[test]
        fn display_parses_to_the_same(text in written()) {
            if let Some(one) = AppVersion::parse(&text) {
                prop_assert_eq!(AppVersion::parse(&one.to_string()), Some(one));
            }
        }

        #[test]
        fn space_around_and_a_build_number_do_not_count(text in "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(-rc[0-9])?", build in 0_u32..100_000) {
            let plain = version(&text);
            for written in [
                format!(" v{text} "),
                format!("{text}+{build}"),
                format!("{text} (build {build})"),
                format!("{text} ({build})"),
                format!("{text}/{build}"),
            ] {
                prop_assert_eq!(&version(&written), &plain, "{}", written);
            }
        }

        #[test]
        fn the_short_way_leads_to_the_same(text in "[0-9]{0,20}(\\.[0-9]{0,4}){0,5}") {
            if let Some(one) = plain(&text) {
                let other = AppVersion::parse_any(&text).expect("a version");
                prop_assert_eq!((&one.numbers, &one.pre_release), (&other.numbers, &other.pre_release));
            }
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = AppVersion::parse(&text);
        }
    }
}
