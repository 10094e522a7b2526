//! What a registration comes to before it is decided: which schemas it changes, by itself and through references, and
//! what has to be compiled, compared and tried for that.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{
    AdminState,
    compatibility::{enforced, recent_values},
    falls::outlook,
    registration::Proposal,
    upgrades::try_out,
};
use crate::{
    event::{AppVersion, EventType},
    problem::{Code, Fault, Problem},
    registry::{
        model::{Compatibility, Digest, Schema, SchemaKey, State, TypeSchemas, Upgrade, Versioned},
        put_schema,
    },
    validate::{
        References, Texts,
        check::Candidate,
        compatibility::{Report, Source, child},
        uri_of,
    },
};

pub type Known = Arc<Versioned<(SchemaKey, Schema)>>;
pub type Registered = BTreeMap<EventType, Arc<TypeSchemas>>;

/// A schema with all that its references lead to.
#[derive(Clone, Debug)]
pub struct Whole {
    pub key: SchemaKey,
    pub schema: Schema,
    pub texts: Texts,
    /// Of all texts together: what tells one meaning from another.
    pub digest: Digest,
}

impl Whole {
    pub fn of(known: &Known, references: &References) -> Result<Whole, Vec<Fault>> {
        let (key, schema) = &known.value;
        let texts = references.texts(key)?;
        Ok(Whole {
            digest: texts.digest(schema.digest),
            key: key.clone(),
            schema: schema.clone(),
            texts,
        })
    }

    fn source(&self) -> Source {
        Source {
            root: Arc::new(serde_json::from_str(&self.schema.text).unwrap_or_default()),
            // What is registered was read as JSON before.
            library: Arc::new(self.texts.library().unwrap_or_default()),
        }
    }
}

/// Two schemas that follow each other, in versions or in time.
pub struct Pair {
    pub old: Whole,
    pub new: Whole,
    /// `since` of the other one.
    pub with: String,
    pub is_replacement: bool,
    pub enforced: Compatibility,
}

/// One schema whose meaning changes, and what it is compared with.
pub struct Planned {
    pub whole: Whole,
    /// The entry that last changed it; none: it is new.
    pub sequence: Option<u64>,
    pub is_unchanged: bool,
    pub pairs: Vec<Pair>,
}

struct Trial {
    older: Whole,
    newer: Whole,
    upgrade: Upgrade,
    sequence: u64,
}

/// What a registration would change in one state of the registry.
pub struct Plan {
    /// In the order of the proposals.
    pub registered: Vec<Planned>,
    /// They refer to what changes.
    pub dependents: Vec<Planned>,
    /// All that there would be.
    pub schemas: Registered,
    trials: Vec<Trial>,
}

/// What was found out, by what it was found out about: it stands, whatever happens to the registry meanwhile.
#[derive(Clone, Default)]
pub struct Findings {
    checks: HashMap<Digest, Vec<Fault>>,
    reports: HashMap<(Digest, Digest), Arc<Report>>,
    trials: HashMap<(Digest, Digest, u64), Option<Problem>>,
}

struct Planner<'s> {
    state: &'s State,
    before: Arc<References>,
    after: References,
    schemas: Registered,
}

impl Plan {
    /// # Errors
    ///
    /// A reference leads nowhere: of what is to be registered, or of what refers to it.
    pub fn of(admin: &AdminState, state: &State, proposals: &[Proposal]) -> Result<Plan, Problem> {
        let mut schemas = state.schemas.clone();
        for proposal in proposals {
            if !proposal.is_registered(state) {
                let known = find(&state.schemas, &proposal.key);
                let key = known.map_or(&proposal.key, |known| &known.value.0).clone();
                put_schema(&mut schemas, 0, key, proposal.schema.clone());
            }
        }
        let before = admin.references(state);
        let (after, affected) = before.update(&schemas);
        let planner = Planner {
            state,
            before,
            after,
            schemas,
        };
        let mut registered = Vec::new();
        for (index, proposal) in proposals.iter().enumerate() {
            registered.push(planner.registered(proposal, &place(index, proposals.len()))?);
        }
        let mut dependents = Vec::new();
        for event_type in &affected {
            for key in planner.after.referring(event_type) {
                let is_proposed = registered.iter().any(|planned| planned.whole.key == *key);
                if !is_proposed && let Some(planned) = planner.dependent(key)? {
                    dependents.push(planned);
                }
            }
        }
        let trials = planner.trials(&registered, &dependents);
        Ok(Plan {
            registered,
            dependents,
            schemas: planner.schemas,
            trials,
        })
    }

    fn planned(&self) -> impl Iterator<Item = &Planned> {
        self.registered.iter().chain(&self.dependents)
    }

    fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.planned().flat_map(|planned| &planned.pairs)
    }

    /// Compiles, compares and tries what was not found out yet; each in a process of its own, or bounded otherwise.
    ///
    /// # Errors
    ///
    /// 422: what is to be registered cannot be compiled. 409: what refers to it could not be any more.
    pub async fn find_out(&self, admin: &AdminState, findings: &mut Findings) -> Result<(), Problem> {
        self.compile(admin, findings).await?;
        compare(admin, &self.schemas, self.pairs(), findings).await;
        for trial in &self.trials {
            if let Entry::Vacant(place) = findings.trials.entry(trial.key()) {
                let (older, newer) = (&trial.older, &trial.newer);
                let schemas = self.schemas.get(&newer.key.event_type);
                let tried = try_out(admin, schemas, older, newer, trial.upgrade.clone()).await;
                place.insert(tried.err());
            }
        }
        Ok(())
    }

    async fn compile(&self, admin: &AdminState, findings: &mut Findings) -> Result<(), Problem> {
        let missing: Vec<&Whole> = self
            .planned()
            .filter(|planned| !planned.is_unchanged)
            .map(|planned| &planned.whole)
            .filter(|whole| !findings.checks.contains_key(&whole.digest))
            .collect();
        let candidates = missing.iter().map(|whole| Candidate {
            text: Arc::clone(&whole.schema.text),
            texts: whole.texts.clone(),
        });
        let checked = (admin.actions.check_schemas)(candidates.collect()).await;
        findings
            .checks
            .extend(missing.iter().map(|whole| whole.digest).zip(checked));
        let faulty = self.registered.iter().enumerate();
        let faulty = faulty.filter_map(|(index, planned)| Some((index, findings.faults(planned)?)));
        // One that refers to a broken one is broken too; the metaschema's word is about a text itself.
        let worst = faulty.min_by_key(|(_, faults)| faults.iter().all(|fault| fault.keyword.is_none()));
        if let Some((index, faults)) = worst {
            return Err(unusable(faults.to_vec(), &place(index, self.registered.len())));
        }
        for planned in &self.dependents {
            if let Some(faults) = findings.faults(planned) {
                return Err(breaks(&planned.whole.key, faults));
            }
        }
        Ok(())
    }

    /// Whether all that this plan asks was found out.
    pub fn is_answered(&self, findings: &Findings) -> bool {
        let mut changed = self.planned().filter(|planned| !planned.is_unchanged);
        changed.all(|planned| {
            findings
                .checks
                .get(&planned.whole.digest)
                .is_some_and(Vec::is_empty)
        }) && self.pairs().all(|pair| findings.report(pair).is_some())
            && self
                .trials
                .iter()
                .all(|trial| findings.trials.contains_key(&trial.key()))
    }

    /// The first upgrade that would not do any more.
    pub fn broken_upgrade<'f>(&self, findings: &'f Findings) -> Option<(SchemaKey, &'f Problem)> {
        self.trials.iter().find_map(|trial| {
            let problem = findings.trials.get(&trial.key())?.as_ref()?;
            Some((trial.newer.key.clone(), problem))
        })
    }
}

impl Findings {
    pub fn report(&self, pair: &Pair) -> Option<&Arc<Report>> {
        self.reports.get(&(pair.old.digest, pair.new.digest))
    }

    fn faults(&self, planned: &Planned) -> Option<&[Fault]> {
        let faults = self.checks.get(&planned.whole.digest)?;
        (!faults.is_empty()).then_some(faults)
    }
}

impl Trial {
    fn key(&self) -> (Digest, Digest, u64) {
        (self.older.digest, self.newer.digest, self.sequence)
    }
}

/// Compares the pairs of `schemas` that were not compared yet, in a process of its own.
pub async fn compare(
    admin: &AdminState,
    schemas: &Registered,
    pairs: impl Iterator<Item = &Pair>,
    findings: &mut Findings,
) {
    let mut keys = Vec::new();
    let mut missing: Vec<(Whole, Whole)> = Vec::new();
    for pair in pairs {
        let key = (pair.old.digest, pair.new.digest);
        if findings.reports.contains_key(&key) || keys.contains(&key) {
            continue;
        }
        keys.push(key);
        missing.push((pair.old.clone(), pair.new.clone()));
    }
    let (looking, schemas, state) = (admin.clone(), schemas.clone(), admin.registry.state());
    // Reading texts and all that is remembered takes longer than a thread that serves others may be held.
    let asked = tokio::task::spawn_blocking(move || {
        let pair = |(old, new): (Whole, Whole)| {
            let event_type = &new.key.event_type;
            let outlook = outlook(&state, event_type, schemas.get(event_type));
            child::Pair {
                old: old.source(),
                new: new.source(),
                events: recent_values(&looking, &state, &outlook, [&old.key, &new.key]),
            }
        };
        missing.into_iter().map(pair).collect::<Vec<_>>()
    });
    // What broke off stays unanswered, and is asked again.
    let asked = asked.await.unwrap_or_default();
    let reports = (admin.actions.compare)(asked).await;
    findings
        .reports
        .extend(keys.into_iter().zip(reports.into_iter().map(Arc::new)));
}

/// Where the text of a proposal stands in the request's body.
fn place(index: usize, proposals: usize) -> String {
    if proposals == 1 {
        String::new()
    } else {
        format!("/schemas/{index}/text")
    }
}

/// 422 with every fault, its place in the request's body.
pub fn unusable(faults: Vec<Fault>, place: &str) -> Problem {
    let first = faults.first().map(|fault| fault.message.as_str());
    let detail = format!(
        "the schema cannot be used: {}",
        first.unwrap_or("it does not compile")
    );
    let faults = faults.into_iter().map(|fault| Fault {
        pointer: format!("{place}{}", fault.pointer),
        ..fault
    });
    Problem::new(Code::SchemaInvalid, detail).with_errors(faults.collect())
}

/// 409: a schema that refers to the change could not be used any more.
fn breaks(key: &SchemaKey, faults: &[Fault]) -> Problem {
    let first = faults
        .first()
        .map(|fault| format!("{} at {}", fault.message, fault.pointer));
    let detail = format!(
        "{} refers to it, and could not be used any more: {}; mend that schema first",
        uri_of(key),
        first.unwrap_or_default()
    );
    Problem::new(Code::SchemaReferenced, detail)
}

pub fn find<'s>(schemas: &'s Registered, key: &SchemaKey) -> Option<&'s Known> {
    schemas.get(&key.event_type)?.find(key)
}

impl Planner<'_> {
    fn registered(&self, proposal: &Proposal, place: &str) -> Result<Planned, Problem> {
        let after = find(&self.schemas, &proposal.key).ok_or_else(|| {
            tracing::error!("a schema that was put into a copy of the registry is not there");
            Problem::new(Code::Internal, "the registration cannot be planned")
        })?;
        let whole = Whole::of(after, &self.after).map_err(|faults| unusable(faults, place))?;
        let known = find(&self.state.schemas, &proposal.key);
        let pairs = match known {
            Some(known) => self.replaced(known, &whole),
            None => self.neighbours(&whole, enforced(self.state, &whole.key.event_type)),
        };
        Ok(Planned {
            whole,
            sequence: known.map(|known| known.sequence),
            is_unchanged: proposal.is_registered(self.state),
            pairs,
        })
    }

    /// None where its references lead to what they led to before, or led nowhere before and do now.
    fn dependent(&self, key: &SchemaKey) -> Result<Option<Planned>, Problem> {
        let Some(known) = find(&self.schemas, key) else {
            return Ok(None);
        };
        let whole = match (Whole::of(known, &self.before), Whole::of(known, &self.after)) {
            (Ok(before), Ok(after)) if before.digest == after.digest => return Ok(None),
            (_, Ok(after)) => after,
            (Ok(_), Err(faults)) => return Err(breaks(key, &faults)),
            (Err(_), Err(_)) => return Ok(None),
        };
        let mut pairs = self.replaced(known, &whole);
        match enforced(self.state, &key.event_type) {
            Compatibility::None => {}
            enforced => pairs.extend(self.neighbours(&whole, enforced)),
        }
        Ok(Some(Planned {
            whole,
            sequence: Some(known.sequence),
            is_unchanged: false,
            pairs,
        }))
    }

    /// What led nowhere accepted nothing, so that nothing has to stay accepted.
    fn replaced(&self, known: &Known, whole: &Whole) -> Vec<Pair> {
        let old = Whole::of(known, &self.before).ok();
        old.map(|old| Pair {
            with: old.key.since.clone(),
            old,
            new: whole.clone(),
            is_replacement: true,
            enforced: Compatibility::Backward,
        })
        .into_iter()
        .collect()
    }

    /// The versions right before and right after, of the same source.
    fn neighbours(&self, whole: &Whole, enforced: Compatibility) -> Vec<Pair> {
        let key = &whole.key;
        let since = AppVersion::parse(&key.since);
        let version = |known: &&Known| AppVersion::parse(&known.value.0.since);
        let of_type = self.schemas.get(&key.event_type);
        let others = || {
            of_type
                .iter()
                .flat_map(|of_type| &of_type.schemas)
                .filter(|known| known.value.0.source == key.source)
        };
        let before = others()
            .filter(|known| version(known) < since)
            .max_by_key(version);
        let after = others()
            .filter(|known| version(known) > since)
            .min_by_key(version);
        let pair = |known: &Known, is_earlier: bool| {
            let other = Whole::of(known, &self.after).ok()?;
            let with = other.key.since.clone();
            let (old, new) = if is_earlier {
                (other, whole.clone())
            } else {
                (whole.clone(), other)
            };
            Some(Pair {
                old,
                new,
                with,
                is_replacement: false,
                enforced,
            })
        };
        before
            .and_then(|known| pair(known, true))
            .into_iter()
            .chain(after.and_then(|known| pair(known, false)))
            .collect()
    }

    /// The upgrades from and to each schema that is new or gets another meaning: a new one stands between an upgrade and
    /// the version that it began at.
    fn trials(&self, registered: &[Planned], dependents: &[Planned]) -> Vec<Trial> {
        let mut trials: Vec<Trial> = Vec::new();
        let changed = registered
            .iter()
            .filter(|planned| !planned.is_unchanged)
            .chain(dependents)
            .map(|planned| &planned.whole.key);
        for key in changed {
            let Some(of_type) = self.schemas.get(&key.event_type) else {
                continue;
            };
            for known in &of_type.upgrades {
                let (to, upgrade) = &known.value;
                let (Some(newer), Some(older)) = (of_type.find(to), of_type.before(to)) else {
                    continue;
                };
                let is_known = trials.iter().any(|trial| trial.sequence == known.sequence);
                if is_known || !(newer.value.0 == *key || older.value.0 == *key) {
                    continue;
                }
                if let (Ok(older), Ok(newer)) = (Whole::of(older, &self.after), Whole::of(newer, &self.after))
                {
                    trials.push(Trial {
                        older,
                        newer,
                        upgrade: upgrade.clone(),
                        sequence: known.sequence,
                    });
                }
            }
        }
        trials
    }
}
