//! From what was seen to what is proposed.

use serde_json::{Map, Value, json};

use super::{
    Decision,
    evidence::{Evidence, Strings},
};
use crate::json::pointer_escaped;

/// An enumeration has at most so many values …
const ENUM_VALUES_MAX: usize = 12;
/// … each of which was seen so often on average.
const ENUM_SIGHTINGS: usize = 5;
/// An object with more different members than this, of which each is rare, is a map.
const MAP_MEMBERS_MIN: usize = 30;
/// A member is rare that is in fewer than one of so many objects.
const MAP_RARITY: usize = 5;

pub fn schema(evidence: &Evidence, evidence_min: usize) -> (Value, Vec<Decision>) {
    let mut proposal = Proposal {
        evidence_min,
        decisions: Vec::new(),
    };
    let mut schema = proposal.of(evidence, "");
    schema.insert(
        "$schema".to_owned(),
        "https://json-schema.org/draft/2020-12/schema".into(),
    );
    (Value::Object(schema), proposal.decisions)
}

struct Proposal {
    evidence_min: usize,
    decisions: Vec<Decision>,
}

impl Proposal {
    fn of(&mut self, evidence: &Evidence, place: &str) -> Map<String, Value> {
        let mut schema = Map::new();
        let mut decided = Vec::new();
        let types = types(evidence);
        decided.push(types.join(" or "));
        match types.as_slice() {
            // Nothing but empty arrays was ever there.
            [] => {}
            [one] => {
                schema.insert("type".to_owned(), (*one).into());
            }
            many => {
                schema.insert("type".to_owned(), json!(many));
            }
        }
        if evidence.strings.count > 0 {
            self.strings(&evidence.strings, evidence, &mut schema, &mut decided);
        }
        let here = self.decisions.len();
        if evidence.objects > 0 {
            self.object(evidence, place, &mut schema, &mut decided);
        }
        if let Some(elements) = &evidence.elements
            && elements.count > 0
        {
            let items = self.of(elements, &format!("{place}/*"));
            schema.insert("items".to_owned(), Value::Object(items));
        }
        let decision = Decision {
            place: if place.is_empty() {
                "(event)".to_owned()
            } else {
                place.to_owned()
            },
            seen: evidence.count.to_string(),
            decided: decided.join("; "),
        };
        self.decisions.insert(here, decision);
        schema
    }

    fn strings(
        &self,
        strings: &Strings,
        evidence: &Evidence,
        schema: &mut Map<String, Value>,
        decided: &mut Vec<String>,
    ) {
        if let Some(format) = strings.format() {
            if strings.count >= self.evidence_min {
                schema.insert("format".to_owned(), format.into());
                decided.push(format!("every text is a {format}"));
            } else {
                decided.push(format!("perhaps {format}: too few texts to say so"));
            }
            return;
        }
        let Some(texts) = &strings.texts else {
            return;
        };
        let is_one_of_few = texts.len() <= ENUM_VALUES_MAX && texts.iter().all(|text| is_word(text));
        // Values of other types stand there too: an enumeration would refuse them.
        let is_alone = strings.count + evidence.nulls == evidence.count;
        let is_seen_enough = strings.count >= self.evidence_min
            && strings.count >= texts.len() * ENUM_SIGHTINGS
            && texts.len() >= 2;
        if is_one_of_few && is_alone && is_seen_enough {
            let mut values: Vec<Value> = texts.iter().map(|text| text.as_str().into()).collect();
            if evidence.nulls > 0 {
                values.push(Value::Null);
            }
            schema.insert("enum".to_owned(), values.into());
            decided.push(format!("one of {} values, each seen often", texts.len()));
        } else if is_one_of_few && texts.len() >= 2 {
            decided.push(format!(
                "{} values so far: too few sightings for an enum",
                texts.len()
            ));
        }
    }

    fn object(
        &mut self,
        evidence: &Evidence,
        place: &str,
        schema: &mut Map<String, Value>,
        decided: &mut Vec<String>,
    ) {
        if is_map(evidence) {
            let mut all = Evidence::default();
            evidence.members.values().for_each(|member| all.merge(member));
            decided.push(format!(
                "a map: {} names, each of them rare",
                evidence.members.len()
            ));
            let values = self.of(&all, &format!("{place}/*"));
            schema.insert("additionalProperties".to_owned(), Value::Object(values));
            return;
        }
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (name, member) in &evidence.members {
            let escaped = pointer_escaped(name);
            let at = self.decisions.len();
            let proposed = self.of(member, &format!("{place}/{escaped}"));
            let is_required = member.count == evidence.objects && evidence.objects >= self.evidence_min;
            if let Some(decision) = self.decisions.get_mut(at) {
                decision.seen = format!("{} of {}", member.count, evidence.objects);
                let word = match (is_required, member.count == evidence.objects) {
                    (true, _) => "required",
                    (false, true) => "optional: always there, and too few events to say that it must be",
                    (false, false) => "optional",
                };
                decision.decided = format!("{word}; {}", decision.decided);
            }
            properties.insert(name.clone(), Value::Object(proposed));
            if is_required {
                required.push(Value::from(name.as_str()));
            }
        }
        if !properties.is_empty() {
            schema.insert("properties".to_owned(), Value::Object(properties));
        }
        if !required.is_empty() {
            schema.insert("required".to_owned(), Value::Array(required));
        }
    }
}

fn types(evidence: &Evidence) -> Vec<&'static str> {
    let number = match (evidence.integers, evidence.fractions) {
        (0, 0) => None,
        (_, 0) => Some("integer"),
        _ => Some("number"),
    };
    let seen = |count: usize, name: &'static str| (count > 0).then_some(name);
    [
        seen(evidence.objects, "object"),
        seen(evidence.arrays, "array"),
        seen(evidence.strings.count, "string"),
        number,
        seen(evidence.booleans, "boolean"),
        seen(evidence.nulls, "null"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is_map(evidence: &Evidence) -> bool {
    evidence.members.len() >= MAP_MEMBERS_MIN
        && evidence
            .members
            .values()
            .all(|member| member.count * MAP_RARITY <= evidence.objects)
}

/// What people choose for values of an enumeration: no sentences, no numbers.
fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "_-.:/ ".contains(character))
        && text.split(' ').count() <= 3
}
