//! In which order schemas go: what is referred to first, earlier versions before later ones; and those at once of which
//! none can come first.

use std::collections::{BTreeMap, HashMap};

use super::folder::{LocalSchema, same_schema};
use crate::{registry::model::SchemaKey, validate::References};

/// The schemas in groups, each to be registered at once, after those before it.
pub fn groups(schemas: Vec<LocalSchema>, references: &References) -> Vec<Vec<LocalSchema>> {
    let by_key: HashMap<SchemaKey, usize> = schemas
        .iter()
        .enumerate()
        .map(|(index, schema)| (schema.key.clone(), index))
        .collect();
    let needs: Vec<Vec<usize>> = schemas
        .iter()
        .enumerate()
        .map(|(index, schema)| {
            // They are sorted by type, source and version.
            let before = index.checked_sub(1).filter(|before| {
                let other = &schemas[*before].key;
                other.event_type == schema.key.event_type && other.source == schema.key.source
            });
            let referred = references.targets(&schema.key);
            let referred = referred.into_iter().filter_map(|key| by_key.get(&key).copied());
            before
                .into_iter()
                .chain(referred)
                .filter(|other| *other != index)
                .collect()
        })
        .collect();
    let mut schemas: BTreeMap<usize, LocalSchema> = schemas.into_iter().enumerate().collect();
    components(&needs)
        .into_iter()
        .map(|group| group.iter().filter_map(|index| schemas.remove(index)).collect())
        .collect()
}

/// Keys in the order in which they can be deleted, each with whether that takes force: those that refer to each other,
/// unless one that stays still leads there. `staying` are the references between those.
pub fn deletions(
    keys: Vec<SchemaKey>,
    referred_by: &[(SchemaKey, Vec<SchemaKey>)],
    staying: &References,
) -> Vec<(SchemaKey, bool)> {
    let referrers = |key: &SchemaKey| {
        let known = referred_by.iter().find(|(known, _)| same_schema(known, key));
        known.into_iter().flat_map(|(_, referrers)| referrers)
    };
    let place = |key: &SchemaKey| keys.iter().position(|other| same_schema(other, key));
    let stays = |referrer: &SchemaKey| place(referrer).is_none() && staying.texts(referrer).is_err();
    let is_needed = |index: &usize| referrers(&keys[*index]).any(stays);
    let needs: Vec<Vec<usize>> = keys
        .iter()
        .map(|key| referrers(key).filter_map(place).collect())
        .collect();
    components(&needs)
        .into_iter()
        .flat_map(|group| {
            let force = group.len() > 1 && !group.iter().any(is_needed);
            group.into_iter().map(move |index| (index, force))
        })
        .map(|(index, force)| (keys[index].clone(), force))
        .collect()
}

/// Strongly connected groups (Tarjan), what is needed before what needs it, else in the given order.
fn components(needs: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut search = Search {
        needs,
        numbers: vec![None; needs.len()],
        lowest: vec![0; needs.len()],
        is_open: vec![false; needs.len()],
        open: Vec::new(),
        next: 0,
        found: Vec::new(),
    };
    for start in 0..needs.len() {
        search.visit(start);
    }
    search.found
}

struct Search<'n> {
    needs: &'n [Vec<usize>],
    numbers: Vec<Option<usize>>,
    lowest: Vec<usize>,
    is_open: Vec<bool>,
    open: Vec<usize>,
    next: usize,
    found: Vec<Vec<usize>>,
}

impl Search<'_> {
    /// Without recursion: a type may have any number of versions.
    fn visit(&mut self, start: usize) {
        if self.numbers[start].is_some() {
            return;
        }
        let mut path = vec![(start, 0)];
        self.enter(start);
        while let Some((place, step)) = path.pop() {
            if let Some(need) = self.needs[place].get(step).copied() {
                path.push((place, step + 1));
                match self.numbers[need] {
                    None => {
                        self.enter(need);
                        path.push((need, 0));
                    }
                    Some(number) if self.is_open[need] => self.lower(place, number),
                    Some(_) => {}
                }
                continue;
            }
            if let Some((parent, _)) = path.last() {
                self.lower(*parent, self.lowest[place]);
            }
            if self.numbers[place] == Some(self.lowest[place]) {
                let mut group = Vec::new();
                while let Some(member) = self.open.pop() {
                    self.is_open[member] = false;
                    group.push(member);
                    if member == place {
                        break;
                    }
                }
                group.sort_unstable();
                self.found.push(group);
            }
        }
    }

    fn enter(&mut self, place: usize) {
        self.numbers[place] = Some(self.next);
        self.lowest[place] = self.next;
        self.next += 1;
        self.open.push(place);
        self.is_open[place] = true;
    }

    fn lower(&mut self, place: usize, number: usize) {
        self.lowest[place] = self.lowest[place].min(number);
    }
}
