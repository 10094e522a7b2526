//! Query strings and pages of lists.

use std::{borrow::Borrow, collections::BTreeMap, ops::Bound, str::FromStr};

use axum::extract::FromRequestParts;
use http::{StatusCode, request::Parts};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    answer::{Answer, Refusal, json},
    input::{Faults, unknown_name},
};
use crate::problem::Problem;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1000;
/// Parameters looked at in one query string.
const PARAMETERS_MAX: usize = 100;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Listing<T> {
    pub items: Vec<T>,
    /// Give this as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T: Serialize> Listing<T> {
    pub fn answer(&self) -> Answer {
        json(StatusCode::OK, self)
    }
}

/// Which page.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    pub limit: usize,
    pub after: Option<String>,
}

impl Page {
    /// This page of `items`, which ascend and begin after [`Page::after`], each with its cursor.
    pub fn cut<T>(&self, items: impl Iterator<Item = (String, T)>) -> Listing<T> {
        let mut items = items;
        let mut taken = Vec::new();
        let mut last = None;
        for (cursor, item) in items.by_ref().take(self.limit) {
            last = Some(cursor);
            taken.push(item);
        }
        Listing {
            items: taken,
            next: if items.next().is_some() { last } else { None },
        }
    }

    /// This page of the entries of `map` that `view` shows.
    pub fn of_map<'m, K, V, T>(
        &self,
        map: &'m BTreeMap<K, V>,
        mut view: impl FnMut(&'m K, &'m V) -> Option<T>,
    ) -> Listing<T>
    where
        K: Ord + Borrow<str>,
    {
        let start = self.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let shown = map
            .range::<str, _>((start, Bound::Unbounded))
            .filter_map(|(key, value)| view(key, value).map(|item| (key.borrow().to_owned(), item)));
        self.cut(shown)
    }
}

/// The query string, with every fault noted before any is reported.
pub struct Query {
    pairs: Vec<(String, String)>,
    faults: Faults,
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Query, Refusal> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Query {
            pairs: form_urlencoded::parse(query.as_bytes())
                .take(PARAMETERS_MAX)
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
            faults: Faults::default(),
        })
    }
}

impl Query {
    /// Notes each parameter that is not among `names` or stands there twice.
    pub fn allow(&self, names: &[&str]) {
        for (index, (name, _)) in self.pairs.iter().enumerate() {
            if !names.contains(&name.as_str()) {
                self.faults.add("", unknown_name("query parameter", name, names));
            } else if self.pairs.iter().take(index).any(|(earlier, _)| earlier == name) {
                self.fault(name, "stands there twice");
            }
        }
    }

    pub fn fault(&self, name: &str, message: &str) {
        self.faults
            .add("", format!("query parameter {name:?}: {message}"));
    }

    pub fn text(&self, name: &str) -> Option<String> {
        let value = self
            .pairs
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)?;
        if value.is_empty() || value.len() > 1024 {
            self.fault(name, "must have 1 to 1024 bytes");
            return None;
        }
        Some(value.clone())
    }

    pub fn parsed<T: FromStr>(&self, name: &str) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = self.text(name)?;
        text.parse()
            .map_err(|error: T::Err| self.fault(name, &error.to_string()))
            .ok()
    }

    /// One of `names`.
    pub fn choice(&self, name: &str, names: &[&str]) -> Option<String> {
        let text = self.text(name)?;
        if !names.contains(&text.as_str()) {
            self.fault(name, &format!("must be one of {}", names.join(", ")));
            return None;
        }
        Some(text)
    }

    pub fn flag(&self, name: &str) -> bool {
        match self.text(name).as_deref() {
            Some("true") => true,
            None | Some("false") => false,
            Some(_) => {
                self.fault(name, "must be true or false");
                false
            }
        }
    }

    /// The page that `limit` and `after` name.
    pub fn page(&self) -> Page {
        let limit = self.text("limit").and_then(|text| {
            let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
            if limit.is_none() {
                self.fault("limit", &format!("must be an integer from 1 to {LIMIT_MAX}"));
            }
            limit
        });
        Page {
            limit: limit.unwrap_or(LIMIT_DEFAULT),
            after: self.text("after"),
        }
    }

    /// 422 where there was any fault.
    pub fn finish(self) -> Result<(), Problem> {
        self.faults.into_result()
    }
}

/// A page of a list that takes no other parameter.
pub fn page_of(query: Query) -> Result<Page, Problem> {
    query.allow(&["limit", "after"]);
    let page = query.page();
    query.finish()?;
    Ok(page)
}
