//! From the texts of a query string or form to JSON, guided by the event's schema. Where the schema says nothing, or allows a
//! string, a text stays a string.

use serde_json::Value;

use super::{
    Context,
    attributes::{Defaults, Given, Resolved},
    framing,
    guide::{ARRAY, BOOLEAN, Guide, INTEGER, NUMBER, OBJECT, Place, STRING},
    query::Tree,
};
use crate::{
    event::{Decoded, Reason, Undecoded},
    json::{Document, write_string},
    problem::{Code, Problem},
};

/// The one event of a query string.
pub(super) fn event(
    tree: &Tree,
    defaults: &mut Defaults<'_>,
    context: &Context<'_>,
) -> Result<Result<Decoded, Undecoded>, Problem> {
    let resolved = match defaults.resolve(Given::default()) {
        Ok(resolved) => resolved,
        Err(undecoded) => return Ok(Err(undecoded)),
    };
    match data(tree, resolved, context) {
        Err(Undecoded { reason, .. }) if reason.code == Code::QueryMalformed => {
            Err(Problem::new(reason.code, reason.detail))
        }
        decoded => Ok(decoded),
    }
}

/// The event whose data is `tree`, guided by its schema.
pub(super) fn data(tree: &Tree, resolved: Resolved, context: &Context<'_>) -> Result<Decoded, Undecoded> {
    let attributes = &resolved.attributes;
    let schema = context.hints.schema(
        &attributes.event_type,
        &attributes.source,
        attributes.app_version.as_deref(),
    );
    let text = to_json(tree, schema.as_deref());
    match Document::parse(text.into(), context.limits.depth) {
        Ok(document) => framing::bounded(resolved, context, &document, document.root()),
        Err(_) => Err(Undecoded {
            id: Some(resolved.attributes.id),
            reason: Reason::new(
                Code::QueryMalformed,
                format!("a name nests more than {} times", context.limits.depth),
            ),
        }),
    }
}

pub(super) fn to_json(tree: &Tree, schema: Option<&Value>) -> Vec<u8> {
    let mut writer = Writer {
        text: Vec::with_capacity(256),
        // A schema that is no object says nothing.
        guide: Guide::new(schema.unwrap_or(&Value::Null)),
    };
    let whole = writer.guide.whole();
    writer.tree(tree, &whole);
    writer.text
}

struct Writer<'s> {
    text: Vec<u8>,
    guide: Guide<'s>,
}

impl<'s> Writer<'s> {
    fn tree(&mut self, tree: &Tree, place: &Place<'s>) {
        match tree {
            Tree::Text(text) => self.text(text, place),
            Tree::Texts(texts) => self.array(texts.iter(), place),
            Tree::Members(members) => {
                if let Some(elements) = self.as_elements(members, place) {
                    self.trees(&elements, place);
                    return;
                }
                self.text.push(b'{');
                for (position, (name, tree)) in members.iter().enumerate() {
                    if position > 0 {
                        self.text.push(b',');
                    }
                    write_string(&mut self.text, name);
                    self.text.push(b':');
                    let member = self.guide.member(place, name);
                    self.tree(tree, &member);
                }
                self.text.push(b'}');
            }
        }
    }

    fn text(&mut self, text: &str, place: &Place<'s>) {
        let types = self.guide.types(place);
        if types & STRING == 0 {
            let is_number = types & (INTEGER | NUMBER) != 0 && is_json_number(text);
            let is_boolean = types & BOOLEAN != 0 && matches!(text, "true" | "false");
            if is_number || is_boolean {
                self.text.extend_from_slice(text.as_bytes());
                return;
            }
            if types & ARRAY != 0 {
                self.array(std::iter::once(text), place);
                return;
            }
        }
        write_string(&mut self.text, text);
    }

    fn array(&mut self, texts: impl Iterator<Item = impl AsRef<str>>, place: &Place<'s>) {
        self.text.push(b'[');
        for (position, text) in texts.enumerate() {
            if position > 0 {
                self.text.push(b',');
            }
            let element = self.guide.element(place, position);
            // An array in an array cannot be meant by one text: it would nest for as long as the schema does.
            let types = self.guide.types(&element);
            match types & ARRAY {
                0 => self.text(text.as_ref(), &element),
                _ => write_string(&mut self.text, text.as_ref()),
            }
        }
        self.text.push(b']');
    }

    fn trees(&mut self, trees: &[&Tree], place: &Place<'s>) {
        self.text.push(b'[');
        for (position, tree) in trees.iter().enumerate() {
            if position > 0 {
                self.text.push(b',');
            }
            let element = self.guide.element(place, position);
            self.tree(tree, &element);
        }
        self.text.push(b']');
    }

    /// `a[0]=x&a[1]=y` where the schema wants an array and no object.
    fn as_elements<'t>(&mut self, members: &'t [(String, Tree)], place: &Place<'s>) -> Option<Vec<&'t Tree>> {
        let types = self.guide.types(place);
        if members.is_empty() || types & (ARRAY | OBJECT) != ARRAY {
            return None;
        }
        members
            .iter()
            .enumerate()
            .map(|(position, (name, tree))| (*name == position.to_string()).then_some(tree))
            .collect()
    }
}

/// Exactly RFC 8259's `number`, within a double's range.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = text.strip_prefix('-').unwrap_or(text);
    let integer = digits(rest);
    if integer == 0 || (integer > 1 && rest.starts_with('0')) {
        return false;
    }
    let mut rest = rest.get(integer..).unwrap_or_default();
    if let Some(fraction) = rest.strip_prefix('.') {
        let fraction_digits = digits(fraction);
        if fraction_digits == 0 {
            return false;
        }
        rest = fraction.get(fraction_digits..).unwrap_or_default();
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let exponent_digits = digits(exponent);
        if exponent_digits == 0 {
            return false;
        }
        rest = exponent.get(exponent_digits..).unwrap_or_default();
    }
    rest.is_empty() && text.parse().is_ok_and(f64::is_finite)
}
