//! What was seen at each place of the events.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    json::{Document, Kind, Node},
    validate::Compiled,
};

/// Distinct texts that are counted at one place; with more of them it is no enumeration.
const TEXTS_MAX: usize = 50;
/// An enumeration's value is no longer.
const TEXT_CHARACTERS_MAX: usize = 64;

/// Formats that are looked for, the narrower first.
pub const FORMATS: [&str; 7] = ["date-time", "date", "uuid", "email", "ipv4", "ipv6", "uri"];

/// All values of one place.
#[derive(Default)]
pub struct Evidence {
    pub count: usize,
    pub nulls: usize,
    pub booleans: usize,
    pub integers: usize,
    /// Numbers with a fraction or an exponent.
    pub fractions: usize,
    pub strings: Strings,
    pub objects: usize,
    pub members: BTreeMap<String, Evidence>,
    pub arrays: usize,
    /// Of all arrays together.
    pub elements: Option<Box<Evidence>>,
}

#[derive(Default)]
pub struct Strings {
    pub count: usize,
    /// None once there were too many, or one was too long to be one of a few.
    pub texts: Option<BTreeSet<String>>,
    is_open: bool,
    /// Indices into [`FORMATS`] that some text has not.
    broken_formats: BTreeSet<usize>,
}

impl Evidence {
    pub fn add(&mut self, node: Node<'_>) {
        self.count += 1;
        match node.kind() {
            Kind::Null => self.nulls += 1,
            Kind::Boolean => self.booleans += 1,
            Kind::Number if node.raw().contains(['.', 'e', 'E']) => self.fractions += 1,
            Kind::Number => self.integers += 1,
            Kind::String => self.strings.add(node),
            Kind::Object => {
                self.objects += 1;
                for (name, value) in node.members() {
                    self.members.entry(name.into_owned()).or_default().add(value);
                }
            }
            Kind::Array => {
                self.arrays += 1;
                let elements = self.elements.get_or_insert_default();
                node.elements().for_each(|element| elements.add(element));
            }
        }
    }

    /// Both together.
    pub fn merge(&mut self, other: &Evidence) {
        self.count += other.count;
        self.nulls += other.nulls;
        self.booleans += other.booleans;
        self.integers += other.integers;
        self.fractions += other.fractions;
        self.strings.merge(&other.strings);
        self.objects += other.objects;
        for (name, member) in &other.members {
            self.members.entry(name.clone()).or_default().merge(member);
        }
        self.arrays += other.arrays;
        if let Some(elements) = &other.elements {
            self.elements.get_or_insert_default().merge(elements);
        }
    }
}

impl Strings {
    fn add(&mut self, node: Node<'_>) {
        self.count += 1;
        let text = node.as_str().unwrap_or_default();
        if !self.is_open {
            let texts = self.texts.get_or_insert_default();
            if text.chars().count() <= TEXT_CHARACTERS_MAX {
                texts.insert(text.clone().into_owned());
            }
            if text.chars().count() > TEXT_CHARACTERS_MAX || texts.len() > TEXTS_MAX {
                self.open();
            }
        }
        for (index, format) in FORMATS.into_iter().enumerate() {
            if !self.broken_formats.contains(&index) && !has_format(format, node) {
                self.broken_formats.insert(index);
            }
        }
    }

    fn open(&mut self) {
        self.is_open = true;
        self.texts = None;
    }

    fn merge(&mut self, other: &Strings) {
        self.count += other.count;
        if other.is_open {
            self.open();
        }
        if let (false, Some(texts)) = (self.is_open, &other.texts) {
            let known = self.texts.get_or_insert_default();
            known.extend(texts.iter().cloned());
            if known.len() > TEXTS_MAX {
                self.open();
            }
        }
        self.broken_formats.extend(&other.broken_formats);
    }

    /// The format that every text has.
    pub fn format(&self) -> Option<&'static str> {
        (0..FORMATS.len())
            .find(|index| self.count > 0 && !self.broken_formats.contains(index))
            .map(|index| FORMATS[index])
    }
}

/// As the gateway itself means the format.
fn has_format(format: &'static str, node: Node<'_>) -> bool {
    thread_local! {
        static COMPILED: BTreeMap<&'static str, Compiled> = FORMATS
            .into_iter()
            .filter_map(|format| {
                let text = format!(r#"{{"type":"string","format":"{format}"}}"#);
                Some((format, Compiled::new(&text.as_str().into()).ok()?))
            })
            .collect();
    }
    COMPILED.with(|compiled| {
        let document = Document::parse(node.raw().to_owned().into(), 1);
        match (compiled.get(format), document) {
            (Some(compiled), Ok(document)) => compiled.violations(&document).is_none(),
            _ => false,
        }
    })
}
