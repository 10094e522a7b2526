//! Texts with places in them: `order {/order/id} of {@partner}, {/note|no note}`.

use crate::{
    bounds::TEMPLATE_BYTES_MAX,
    place::{Place, Seen, text_of},
};

#[derive(Clone, Debug, PartialEq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Place(Place, Option<String>),
}

impl Template {
    /// `{{` and `}}` are braces; behind a bar stands what is written where nothing is found.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(at);
            plain.push_str(before);
            if let Some(behind) = from_brace
                .strip_prefix("{{")
                .or_else(|| from_brace.strip_prefix("}}"))
            {
                plain.push_str(&from_brace[..1]);
                rest = behind;
                continue;
            }
            let inside = from_brace
                .strip_prefix('{')
                .and_then(|inside| inside.split_once('}'));
            let Some((inside, behind)) = inside else {
                return Err(format!(
                    "{text:?}: a brace is left open or closed alone; a brace itself is written {{{{ or }}}}"
                ));
            };
            let (place, otherwise) = match inside.split_once('|') {
                Some((place, otherwise)) => (place, Some(otherwise.to_owned())),
                None => (inside, None),
            };
            if !place.starts_with(['/', '@']) {
                return Err(format!(
                    "{text:?}: inside braces stands a pointer or an attribute, such as {{/order/id}} or {{@type}}"
                ));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Place(Place::parse(place)?, otherwise));
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Template(parts))
    }

    /// How many parts it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// None where a place without a default holds nothing; an error where the text is too long.
    pub fn fill(&self, seen: &Seen<'_>) -> Result<Option<String>, String> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Place(place, otherwise) => {
                    let found = seen.get(place).and_then(text_of).or_else(|| otherwise.clone());
                    let Some(found) = found else {
                        return Ok(None);
                    };
                    filled.push_str(&found);
                }
            }
            if filled.len() > TEMPLATE_BYTES_MAX {
                return Err(format!("would have more than {TEMPLATE_BYTES_MAX} bytes"));
            }
        }
        Ok(Some(filled))
    }

    pub fn visit(&mut self, see: &mut dyn FnMut(&mut Place)) {
        for part in &mut self.0 {
            if let Part::Place(place, _) = part {
                see(place);
            }
        }
    }
}
