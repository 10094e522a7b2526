//! Schemas as sets of assertions: every draft's spelling becomes the same few atoms, each of which says something about
//! one type of value and is met by all others. Equal schemas become the same node, whichever document they stand in.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use serde_json::{Number, Value};

/// A schema: a conjunction of atoms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(u32);

/// What a reference leads to; known once all of its document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Which JSON types a value may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Types {
    pub null: bool,
    pub boolean: bool,
    pub string: bool,
    pub array: bool,
    pub object: bool,
    pub number: Numbers,
}

/// Each includes the ones before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Numbers {
    None,
    /// Written without fraction: draft 4's integers.
    Written,
    /// Without fraction, however written: `1.0` too.
    Integral,
    All,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

pub const KINDS: [Kind; 6] = [
    Kind::Null,
    Kind::Boolean,
    Kind::Number,
    Kind::String,
    Kind::Array,
    Kind::Object,
];

impl Types {
    pub const NONE: Types = Types {
        null: false,
        boolean: false,
        string: false,
        array: false,
        object: false,
        number: Numbers::None,
    };
    pub const ALL: Types = Types {
        null: true,
        boolean: true,
        string: true,
        array: true,
        object: true,
        number: Numbers::All,
    };

    pub fn with(mut self, kind: Kind) -> Types {
        match kind {
            Kind::Null => self.null = true,
            Kind::Boolean => self.boolean = true,
            Kind::String => self.string = true,
            Kind::Array => self.array = true,
            Kind::Object => self.object = true,
            Kind::Number => self.number = Numbers::All,
        }
        self
    }

    pub fn has(self, kind: Kind) -> bool {
        match kind {
            Kind::Null => self.null,
            Kind::Boolean => self.boolean,
            Kind::String => self.string,
            Kind::Array => self.array,
            Kind::Object => self.object,
            Kind::Number => self.number > Numbers::None,
        }
    }

    pub fn and(self, other: Types) -> Types {
        Types {
            null: self.null && other.null,
            boolean: self.boolean && other.boolean,
            string: self.string && other.string,
            array: self.array && other.array,
            object: self.object && other.object,
            number: self.number.min(other.number),
        }
    }

    pub fn is_within(self, other: Types) -> bool {
        self.and(other) == self
    }

    pub fn kinds(self) -> impl Iterator<Item = Kind> {
        KINDS.into_iter().filter(move |kind| self.has(*kind))
    }
}

/// A number, compared exactly.
#[derive(Clone, Copy, Debug)]
pub enum Exact {
    Whole(i128),
    Fraction(f64),
}

impl Exact {
    pub fn of(number: &Number) -> Option<Exact> {
        if let Some(whole) = number.as_i64() {
            return Some(Exact::Whole(whole.into()));
        }
        if let Some(whole) = number.as_u64() {
            return Some(Exact::Whole(whole.into()));
        }
        let float = number.as_f64()?;
        Some(if float.fract() == 0.0 && float.abs() < 1e37 {
            Exact::Whole(float as i128)
        } else {
            Exact::Fraction(float)
        })
    }

    pub fn as_f64(self) -> f64 {
        match self {
            Exact::Whole(whole) => whole as f64,
            Exact::Fraction(float) => float,
        }
    }

    pub fn compare(self, other: Exact) -> Ordering {
        match (self, other) {
            (Exact::Whole(one), Exact::Whole(two)) => one.cmp(&two),
            (Exact::Fraction(one), Exact::Fraction(two)) => one.total_cmp(&two),
            (Exact::Whole(whole), Exact::Fraction(float)) => whole_and_fraction(whole, float),
            (Exact::Fraction(float), Exact::Whole(whole)) => whole_and_fraction(whole, float).reverse(),
        }
    }
}

fn whole_and_fraction(whole: i128, float: f64) -> Ordering {
    if float >= 1e37 {
        return Ordering::Less;
    }
    if float <= -1e37 {
        return Ordering::Greater;
    }
    // A fraction lies strictly between two whole numbers.
    if whole <= float.floor() as i128 {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

/// One assertion. What concerns one type of value is met by every value of another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Atom {
    Types(Types),
    Enum(Vec<Value>),
    AtLeast {
        limit: Number,
        exclusive: bool,
    },
    AtMost {
        limit: Number,
        exclusive: bool,
    },
    MultipleOf(Number),
    LengthAtLeast(u64),
    LengthAtMost(u64),
    Pattern(String),
    /// A format that is checked; one name may mean two checks, by draft.
    Format {
        name: String,
        old_hostname: bool,
    },
    /// `contentMediaType` and `contentEncoding` where they assert.
    Content {
        keyword: &'static str,
        value: Value,
    },
    ItemsAtLeast(u64),
    ItemsAtMost(u64),
    Items {
        prefix: Vec<Node>,
        rest: Option<Node>,
    },
    Contains {
        node: Node,
        at_least: u64,
        at_most: Option<u64>,
    },
    Unique,
    /// Of the items that `scope` does not evaluate.
    UnevaluatedItems {
        node: Node,
        scope: Node,
    },
    PropertiesAtLeast(u64),
    PropertiesAtMost(u64),
    Required(String),
    Absent(String),
    Properties(Properties),
    PropertyNames(Node),
    /// Of the properties that `scope` does not evaluate.
    UnevaluatedProperties {
        node: Node,
        scope: Node,
    },
    All(Vec<Node>),
    Any(Vec<Node>),
    One(Vec<Node>),
    Not(Node),
    If {
        condition: Node,
        then: Node,
        otherwise: Node,
    },
    Reference(Slot),
    /// What this prover does not read; two of them are never taken as equal.
    Opaque {
        keyword: String,
        unique: u32,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Properties {
    pub named: BTreeMap<String, Node>,
    pub patterns: BTreeMap<String, Node>,
    /// Of names that stand in neither.
    pub additional: Option<Node>,
}

impl Atom {
    /// The type of value that it speaks of; none where it speaks of all.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Atom::AtLeast { .. } | Atom::AtMost { .. } | Atom::MultipleOf(_) => Kind::Number,
            Atom::LengthAtLeast(_)
            | Atom::LengthAtMost(_)
            | Atom::Pattern(_)
            | Atom::Format { .. }
            | Atom::Content { .. } => Kind::String,
            Atom::ItemsAtLeast(_)
            | Atom::ItemsAtMost(_)
            | Atom::Items { .. }
            | Atom::Contains { .. }
            | Atom::Unique
            | Atom::UnevaluatedItems { .. } => Kind::Array,
            Atom::PropertiesAtLeast(_)
            | Atom::PropertiesAtMost(_)
            | Atom::Required(_)
            | Atom::Absent(_)
            | Atom::Properties(_)
            | Atom::PropertyNames(_)
            | Atom::UnevaluatedProperties { .. } => Kind::Object,
            Atom::Types(_)
            | Atom::Enum(_)
            | Atom::All(_)
            | Atom::Any(_)
            | Atom::One(_)
            | Atom::Not(_)
            | Atom::If { .. }
            | Atom::Reference(_)
            | Atom::Opaque { .. } => return None,
        })
    }

    /// The keyword that people know it by.
    pub fn keyword(&self) -> &str {
        match self {
            Atom::Types(_) => "type",
            Atom::Enum(_) => "enum",
            Atom::AtLeast { exclusive: false, .. } => "minimum",
            Atom::AtLeast { .. } => "exclusiveMinimum",
            Atom::AtMost { exclusive: false, .. } => "maximum",
            Atom::AtMost { .. } => "exclusiveMaximum",
            Atom::MultipleOf(_) => "multipleOf",
            Atom::LengthAtLeast(_) => "minLength",
            Atom::LengthAtMost(_) => "maxLength",
            Atom::Pattern(_) => "pattern",
            Atom::Format { .. } => "format",
            Atom::Content { keyword, .. } => keyword,
            Atom::ItemsAtLeast(_) => "minItems",
            Atom::ItemsAtMost(_) => "maxItems",
            Atom::Items { .. } => "items",
            Atom::Contains { .. } => "contains",
            Atom::Unique => "uniqueItems",
            Atom::UnevaluatedItems { .. } => "unevaluatedItems",
            Atom::PropertiesAtLeast(_) => "minProperties",
            Atom::PropertiesAtMost(_) => "maxProperties",
            Atom::Required(_) => "required",
            Atom::Absent(_) => "dependentRequired",
            Atom::Properties(properties) if !properties.named.is_empty() => "properties",
            Atom::Properties(properties) if properties.additional.is_some() => "additionalProperties",
            Atom::Properties(_) => "patternProperties",
            Atom::PropertyNames(_) => "propertyNames",
            Atom::UnevaluatedProperties { .. } => "unevaluatedProperties",
            Atom::All(_) => "allOf",
            Atom::Any(_) => "anyOf",
            Atom::One(_) => "oneOf",
            Atom::Not(_) => "not",
            Atom::If { .. } => "if",
            Atom::Reference(_) => "$ref",
            Atom::Opaque { keyword, .. } => keyword,
        }
    }
}

/// All nodes of one comparison.
pub struct Arena {
    nodes: Vec<Rc<[Rc<Atom>]>>,
    known: HashMap<Vec<Atom>, Node>,
    slots: Vec<Option<Node>>,
    opaque: u32,
}

impl Arena {
    /// Accepts everything.
    pub const TRUE: Node = Node(0);
    /// Accepts nothing.
    pub const FALSE: Node = Node(1);

    pub fn new() -> Arena {
        let mut arena = Arena {
            nodes: Vec::new(),
            known: HashMap::new(),
            slots: Vec::new(),
            opaque: 0,
        };
        arena.node(Vec::new());
        arena.node(vec![Atom::Types(Types::NONE)]);
        arena
    }

    pub fn node(&mut self, atoms: Vec<Atom>) -> Node {
        if let Some(known) = self.known.get(&atoms) {
            return *known;
        }
        let node = Node(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(atoms.iter().cloned().map(Rc::new).collect());
        self.known.insert(atoms, node);
        node
    }

    pub fn atom(&mut self, atom: Atom) -> Node {
        self.node(vec![atom])
    }

    pub fn atoms(&self, node: Node) -> Rc<[Rc<Atom>]> {
        self.nodes.get(node.0 as usize).cloned().unwrap_or_default()
    }

    pub fn opaque(&mut self, keyword: &str) -> Atom {
        self.opaque += 1;
        Atom::Opaque {
            keyword: keyword.to_owned(),
            unique: self.opaque,
        }
    }

    pub fn slot(&mut self) -> Slot {
        self.slots.push(None);
        Slot(u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX))
    }

    pub fn fill(&mut self, slot: Slot, node: Node) {
        if let Some(place) = self.slots.get_mut(slot.0 as usize) {
            *place = Some(node);
        }
    }

    pub fn target(&self, slot: Slot) -> Option<Node> {
        self.slots.get(slot.0 as usize).copied().flatten()
    }
}
