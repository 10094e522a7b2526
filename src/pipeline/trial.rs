//! A plugin version on events that nobody waits for, beside the active one: what would change.
//!
//! Each event runs in an instance of its own, and again in one that has run all events before it: a pure function gives
//! the same both times.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Pipeline, Tables, beside,
    difference::{Difference, Made, hide, hide_in, shown},
    steps::misaddressed,
};
use crate::{
    event::{Decoded, PartnerName, RouteName, Validated},
    limits::PLUGIN_TEST_TIME_S,
    problem::Problem,
    recent::{Hiding, hidden_texts},
    registry::model::{Form, Isolation, Route},
    transform::{LogLine, PluginFailure, Prepared, Trial, TrialInstance},
    validate,
};

/// A version that is to be tried.
pub struct PluginTrial {
    pub routes: Vec<TrialRoute>,
    pub events: Vec<Decoded>,
    /// Of cases, for each the schema that it says it keeps: none of them is checked, and nothing of them hidden from whoever
    /// gave them.
    pub attested: Option<Vec<Arc<str>>>,
}

/// One route with the plugin; each event runs on every route that takes it.
pub struct TrialRoute {
    /// Absent: any event, as it was sent.
    pub route: Option<RouteName>,
    pub candidate: Arc<Prepared>,
    pub active: Option<Arc<Prepared>>,
}

/// What would change.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct TrialReport {
    /// Calls that were made: one for each event and route that takes it.
    pub tried: u64,
    /// Events that no route of the plugin takes, or that break their schema: the plugin never gets them.
    pub not_for_it: u64,
    /// Events that time was left for no more.
    pub left_out: u64,
    pub same: u64,
    pub different: u64,
    /// Calls that failed by the plugin's fault.
    pub failed: u64,
    pub rejected: u64,
    /// Calls that gave something else in an instance that had been used before.
    pub impure: u64,
    pub time: TrialCost,
    pub memory: TrialCost,
    /// In the order of the events.
    pub results: Vec<Tried>,
}

/// The median of what calls cost.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub struct TrialCost {
    /// Of the version that is tried: microseconds or bytes.
    pub version: u64,
    /// Of the active one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<u64>,
}

/// One call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Tried {
    #[schema(value_type = String)]
    pub id: Arc<str>,
    #[schema(value_type = String)]
    pub partner: PartnerName,
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub event_type: Arc<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub route: Option<RouteName>,
    /// `same`, `different` or, where no version is active, `new`.
    pub verdict: &'static str,
    /// The records, or `rejected`, `unavailable` or `broken` with the reason; what the type's `mask` names is `"***"`.
    #[schema(value_type = Object)]
    pub made: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What the same call gave in an instance that had been used before, where that differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub impure: Vec<Difference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<TrialLine>,
    /// What the plugin counted, by counter; the gateway's metrics are left alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counters: BTreeMap<String, u64>,
    pub time_us: u64,
    pub memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_time_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_memory_bytes: Option<u64>,
}

/// A line that the plugin wrote to the log.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TrialLine {
    pub level: &'static str,
    pub message: String,
}

/// One event before one route.
struct Call<'a> {
    route: &'a TrialRoute,
    /// The route's, among those that are tried.
    place: usize,
    event: Validated,
    fresh: Trial,
    active: Option<Trial>,
}

impl Pipeline {
    /// Runs a version on events; sends and keeps nothing.
    ///
    /// # Errors
    ///
    /// `internal` where there is no thread for it.
    pub async fn try_plugin(self: &Arc<Self>, trial: PluginTrial) -> Result<TrialReport, Problem> {
        let tables = self.tables();
        beside::traffic(async move { run(&tables, &trial) }).await
    }
}

fn run(tables: &Tables, trial: &PluginTrial) -> TrialReport {
    let until = Instant::now() + Duration::from_secs(PLUGIN_TEST_TIME_S);
    let mut report = TrialReport::default();
    let mut calls = Vec::new();
    for (index, event) in trial.events.iter().enumerate() {
        if Instant::now() >= until {
            report.left_out += 1;
            continue;
        }
        let before = calls.len();
        let attested = trial.attested.as_ref().and_then(|schemas| schemas.get(index));
        let checked = match attested {
            Some(schema) => Ok(validate::attest_case(event.clone(), Arc::clone(schema))),
            None => tables.schemas.check(event.clone()),
        };
        if let Ok(event) = checked {
            for (place, route) in trial.routes.iter().enumerate() {
                let fresh = |event: &Validated, plugin: &Arc<Prepared>| {
                    route.call(plugin, &mut TrialInstance::default(), event, tables)
                };
                calls.extend(in_form(tables, &event, route).map(|event| Call {
                    fresh: fresh(&event, &route.candidate),
                    active: route.active.as_ref().map(|active| fresh(&event, active)),
                    route,
                    place,
                    event,
                }));
            }
        }
        report.not_for_it += u64::from(calls.len() == before);
    }
    let mut used: Vec<TrialInstance> = trial.routes.iter().map(|_| TrialInstance::default()).collect();
    let mut results = Vec::with_capacity(calls.len());
    for call in &calls {
        let again = used
            .get_mut(call.place)
            .filter(|_| Instant::now() < until && !call.route.is_isolated(tables))
            .map(|used| call.route.call(&call.route.candidate, used, &call.event, tables));
        let mask = match &trial.attested {
            Some(_) => None,
            None => Some(tables.mask(&call.event.event().attributes.event_type)),
        };
        results.push(call.told(mask, again));
    }
    count(&mut report, &calls, &results);
    report.results = results;
    report
}

/// The event as the route gives it to the plugin; none where it does not take it.
fn in_form(tables: &Tables, event: &Validated, route: &TrialRoute) -> Option<Validated> {
    let Some(name) = &route.route else {
        return Some(event.clone());
    };
    let matching = tables.routes.matching(event.event());
    let route = matching.iter().find(|route| route.name == *name)?;
    match route.form {
        Form::Sent => Some(event.clone()),
        Form::Latest => match tables.schemas.latest_form(event) {
            Ok(latest) => Some(latest.unwrap_or_else(|| event.clone())),
            Err(_) => None,
        },
    }
}

impl TrialRoute {
    fn known<'t>(&self, tables: &'t Tables) -> Option<&'t Route> {
        let known = tables.state.routes.get(self.route.as_ref()?)?;
        Some(&known.value)
    }

    /// Its plugin never sees a second event.
    fn is_isolated(&self, tables: &Tables) -> bool {
        self.known(tables)
            .is_some_and(|route| route.isolation == Isolation::Event)
    }

    /// Held to the route's destinations, as it is where events pass.
    fn call(&self, plugin: &Prepared, held: &mut TrialInstance, event: &Validated, tables: &Tables) -> Trial {
        let mut trial = plugin.try_in(held, event, tables.lookups());
        let (Some(name), Some(route), Ok(outputs)) = (&self.route, self.known(tables), &trial.result) else {
            return trial;
        };
        let leads_to = |wanted: &str| route.to.iter().any(|target| target.destination == wanted);
        if let Some(elsewhere) = misaddressed(outputs, leads_to) {
            trial.result = Err(PluginFailure::misaddressed(elsewhere, name.as_str()));
        }
        trial
    }
}

impl Call<'_> {
    /// Without a mask nothing is hidden.
    fn told(&self, mask: Option<&[String]>, again: Option<Trial>) -> Tried {
        let decoded = self.event.event();
        let (data, id) = (decoded.data.bytes(), &decoded.attributes.id);
        let hidden = hidden_texts(&data, mask.unwrap_or_default());
        let made = Made::of(&self.fresh.result);
        let hide_all = |mut differences: Vec<Difference>| {
            hide_in(&mut differences, &hidden);
            differences
        };
        let before = self.active.as_ref().map(|active| Made::of(&active.result));
        let differences = before
            .as_ref()
            .map(|before| hide_all(made.differences_from(before)));
        let again = again.map(|again| Made::of(&again.result));
        let impure = again.map_or_else(Vec::new, |again| hide_all(again.differences_from(&made)));
        let mut told = made.to_value();
        hide(&mut told, &hidden);
        Tried {
            id: mask.map_or_else(|| Arc::clone(id), |mask| Hiding::new(mask, &data).text(id).into()),
            partner: decoded.partner.clone(),
            event_type: Arc::clone(decoded.attributes.event_type.as_shared()),
            route: self.route.route.clone(),
            verdict: match &differences {
                None => "new",
                Some(differences) if differences.is_empty() => "same",
                Some(_) => "different",
            },
            made: told,
            differences: differences.unwrap_or_default(),
            impure,
            log: self
                .fresh
                .log
                .iter()
                .map(|line| told_line(line, &hidden))
                .collect(),
            counters: told_counters(&self.fresh.counters, &hidden),
            time_us: micros(self.fresh.elapsed),
            memory_bytes: self.fresh.memory_bytes as u64,
            active_time_us: self.active.as_ref().map(|active| micros(active.elapsed)),
            active_memory_bytes: self.active.as_ref().map(|active| active.memory_bytes as u64),
        }
    }
}

fn told_line(line: &LogLine, hidden: &[String]) -> TrialLine {
    TrialLine {
        level: line.level.as_str(),
        message: shown(&line.message, hidden).to_owned(),
    }
}

fn told_counters(counters: &BTreeMap<String, u64>, hidden: &[String]) -> BTreeMap<String, u64> {
    let mut told = BTreeMap::new();
    for (name, value) in counters {
        let sum: &mut u64 = told.entry(shown(name, hidden).to_owned()).or_default();
        *sum = sum.saturating_add(*value);
    }
    told
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn count(report: &mut TrialReport, calls: &[Call<'_>], results: &[Tried]) {
    report.tried = results.len() as u64;
    let of = |verdict: &str| results.iter().filter(|tried| tried.verdict == verdict).count() as u64;
    (report.same, report.different) = (of("same"), of("different"));
    report.impure = results.iter().filter(|tried| !tried.impure.is_empty()).count() as u64;
    for call in calls {
        match call.fresh.result {
            Ok(_) => {}
            Err(PluginFailure::Rejected(_)) => report.rejected += 1,
            Err(PluginFailure::Unavailable(_)) => {}
            Err(PluginFailure::Failed(_) | PluginFailure::Trapped(_) | PluginFailure::Held(_)) => {
                report.failed += 1;
            }
        }
    }
    let cost = |version: fn(&Tried) -> u64, active: fn(&Tried) -> Option<u64>| TrialCost {
        version: median(results.iter().map(version).collect()).unwrap_or(0),
        active: median(results.iter().filter_map(active).collect()),
    };
    report.time = cost(|tried| tried.time_us, |tried| tried.active_time_us);
    report.memory = cost(|tried| tried.memory_bytes, |tried| tried.active_memory_bytes);
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
