//! A query string as a tree of texts: repeated names make an array, `a[b]` nests, `a[]` is an array.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::attributes::{Given, PREFIX, refused};
use crate::{
    limits::{DEPTH_CEILING, QUERY_MEMBERS},
    problem::{Code, Problem},
};

/// The credential; never data. A data member of this name can only be sent by POST.
const KEY: &str = "key";

/// Where name and value pairs stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pairs {
    /// In the query string of a GET: the key and the attributes stand among the data.
    Query,
    /// In a form: all of it is data.
    Form,
}

impl Pairs {
    fn name(self) -> &'static str {
        match self {
            Pairs::Query => "query string",
            Pairs::Form => "form",
        }
    }
}

/// What one name of a query string holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// Written once, and not as `a[]`.
    Text(String),
    Texts(Vec<String>),
    /// In the order of first mention.
    Members(Vec<(String, Tree)>),
}

/// The data in a query string, and the attributes: parameters `ce-*` are those.
pub(super) fn parse(query: &str, pairs: Pairs) -> Result<(Tree, Given<'static>), Problem> {
    let mut given = Given::default();
    let mut root = Vec::new();
    let mut count = 0;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name, pairs)?, decode(value, pairs)?);
        if pairs == Pairs::Query && name == KEY {
            continue;
        }
        if pairs == Pairs::Query
            && let Some(attribute) = name.strip_prefix(PREFIX)
        {
            let mut one = Given::default();
            one.set(attribute, Cow::Owned(value)).map_err(refused)?;
            given.fill(one);
            continue;
        }
        count += 1;
        if count > QUERY_MEMBERS {
            return Err(malformed(format!(
                "a {} holds at most {QUERY_MEMBERS} members; send more as JSON",
                pairs.name()
            )));
        }
        let path = path(&name)?;
        insert(&mut root, &path, value).map_err(|Contradiction| {
            let shown: String = name.chars().take(80).collect();
            malformed(format!(
                "{shown:?} contradicts another member: a name is either a value or an object of members"
            ))
        })?;
    }
    Ok((Tree::Members(root), given))
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(Code::QueryMalformed, detail)
}

fn decode(text: &str, pairs: Pairs) -> Result<String, Problem> {
    let spaced: Cow<'_, [u8]> = if text.contains('+') {
        text.replace('+', " ").into_bytes().into()
    } else {
        text.as_bytes().into()
    };
    String::from_utf8(percent_decode(&spaced).collect()).map_err(|_| {
        malformed(format!(
            "the {} holds bytes that are no UTF-8; percent-encode UTF-8",
            pairs.name()
        ))
    })
}

/// The steps of `a[b][c]`; a last step that is empty stands for `[]`. A name whose brackets do not pair up is taken
/// as it is: it may be an honest name, and refusing it would lose the event.
fn path(name: &str) -> Result<Vec<&str>, Problem> {
    let Some((first, mut rest)) = name.find('[').filter(|at| *at > 0).map(|at| name.split_at(at)) else {
        return Ok(vec![name]);
    };
    let mut path = vec![first];
    while !rest.is_empty() {
        let step = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let Some((step, after)) = step.filter(|(step, _)| !step.contains('[')) else {
            return Ok(vec![name]);
        };
        path.push(step);
        rest = after;
    }
    let inner = path.get(1..path.len() - 1).unwrap_or_default();
    if inner.iter().any(|step| step.is_empty()) {
        return Err(malformed(
            "[] may only stand at the end of a name; send lists of objects as JSON",
        ));
    }
    if path.len() > DEPTH_CEILING as usize {
        return Err(malformed("a name nests too deeply"));
    }
    Ok(path)
}

struct Contradiction;

fn insert(members: &mut Vec<(String, Tree)>, path: &[&str], value: String) -> Result<(), Contradiction> {
    let Some((name, rest)) = path.split_first() else {
        return Err(Contradiction);
    };
    let known = members.iter_mut().find(|(known, _)| known == name);
    let Some((_, tree)) = known else {
        let tree = match rest {
            [] => Tree::Text(value),
            [""] => Tree::Texts(vec![value]),
            _ => {
                let mut inner = Vec::new();
                insert(&mut inner, rest, value)?;
                Tree::Members(inner)
            }
        };
        members.push(((*name).to_owned(), tree));
        return Ok(());
    };
    match (rest, tree) {
        ([] | [""], Tree::Texts(texts)) => texts.push(value),
        ([] | [""], tree @ Tree::Text(_)) => {
            if let Tree::Text(first) = std::mem::replace(tree, Tree::Texts(Vec::new())) {
                *tree = Tree::Texts(vec![first, value]);
            }
        }
        ([_, ..], Tree::Members(members)) if rest != [""] => return insert(members, rest, value),
        _ => return Err(Contradiction),
    }
    Ok(())
}
