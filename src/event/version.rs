//! The order of app versions: dotted numbers, then pre-release.

use std::{cmp::Ordering, fmt};

use smallvec::SmallVec;

/// An app version, ordered by its dotted numbers, then by its pre-release: `5.2` = `5.2.0` < `5.10.0-rc1` < `5.10.0`.
/// A leading `v` and build numbers (`+812`, ` (build 812)`) are understood and do not count.
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

impl AppVersion {
    /// The version that `text` names, or none where it begins with no number.
    pub fn parse(text: &str) -> Option<AppVersion> {
        let text = text.trim();
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let end = text.find([' ', '(', '+', '\t']).unwrap_or(text.len());
        let text = &text[..end];
        let numbers_end = text
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(text.len());
        let (dotted, rest) = text.split_at(numbers_end);
        let dotted = match rest {
            "" => dotted,
            _ => dotted.strip_suffix('.').unwrap_or(dotted),
        };
        let mut numbers = SmallVec::new();
        for part in dotted.split('.') {
            numbers.push(part.parse().ok()?);
        }
        while numbers.len() > 1 && numbers.last() == Some(&0) {
            numbers.pop();
        }
        let rest = rest.strip_prefix(['-', '_', '.', '~']).unwrap_or(rest);
        let pre_release = (!rest.is_empty()).then(|| identifiers(rest));
        Some(AppVersion { numbers, pre_release })
    }
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
    matches!(character, '.' | '-' | '_' | '~')
}

impl Ord for AppVersion {
    fn cmp(&self, other: &AppVersion) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let number = |version: &AppVersion, index| version.numbers.get(index).copied().unwrap_or(0);
        (0..length)
            .map(|index| number(self, index).cmp(&number(other, index)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| match (&self.pre_release, &other.pre_release) {
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
    use proptest::prelude::*;

    use super::AppVersion;

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
            "5.10.1",
            "1001",
            "2026.11.3",
        ];
        for pair in ascending.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{} < {}", pair[0], pair[1]);
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
    fn what_begins_with_no_number_is_no_version() {
        for text in ["", "v", "beta", "-1", ".", "99999999999999999999999.1"] {
            assert!(AppVersion::parse(text).is_none(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(texts in prop::collection::vec("v?[0-9]{1,2}(\\.[0-9]{1,2}){0,3}(-(rc|beta|a)?\\.?[0-9]{0,2})?", 3)) {
            let found: Vec<_> = texts.iter().filter_map(|text| AppVersion::parse(text)).collect();
            for one in &found {
                for two in &found {
                    prop_assert_eq!(one.cmp(two), two.cmp(one).reverse());
                    for three in &found {
                        if one <= two && two <= three {
                            prop_assert!(one <= three);
                        }
                    }
                }
            }
        }

        #[test]
        fn display_parses_to_the_same(text in "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(-(rc|beta)[0-9]{0,2})?") {
            let one = version(&text);
            prop_assert_eq!(version(&one.to_string()), one);
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = AppVersion::parse(&text);
        }
    }
}
