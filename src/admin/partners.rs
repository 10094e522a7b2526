//! `/v1/partners`.

use axum::{body::Body, extract::State as Extract};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AdminState,
    answer::{Answer, no_content, not_found, put_status, resource},
    body::{Names, known, named, read_json},
    caller::{Caller, Operator, Viewer},
    input::{Faults, Input},
    listing::{Listing, Query, page_of},
    precondition::{Precondition, decide_put},
};
use crate::{
    event::PartnerName,
    limits::ATTRIBUTE_BYTES,
    problem::{Problem, ProblemBody},
    registry::model::{Change, Digest, Enrichment, Partner, RateLimit, envelope::Envelope},
};

/// Characters of any description.
pub const DESCRIPTION_CHARACTERS_MAX: usize = 2000;
const ORIGINS_MAX: usize = 100;
const CERTIFICATES_MAX: usize = 100;
const ENRICHMENTS_MAX: usize = 2;
/// What a day's count can hold.
const EVENTS_PER_DAY_MAX: u64 = 1_000_000_000_000;

/// A partner with its name.
#[derive(Serialize, ToSchema)]
pub struct NamedPartner {
    #[schema(value_type = String)]
    name: PartnerName,
    #[serde(flatten)]
    partner: Partner,
}

/// List partners, by name.
#[utoipa::path(get, path = "/v1/partners", tag = "partners", operation_id = "list_partners",
    params(("limit" = Option<u16>, Query, minimum = 1, maximum = 1000), ("after" = Option<String>, Query)),
    responses((status = 200, body = Listing<NamedPartner>), (status = "4XX", body = ProblemBody)))]
pub async fn list(_caller: Caller<Viewer>, Extract(admin): Extract<AdminState>, query: Query) -> Answer {
    let page = page_of(query)?;
    let state = admin.registry.state();
    let listing = page.of_map(&state.partners, |name, known| {
        Some(NamedPartner {
            name: name.clone(),
            partner: known.value.clone(),
        })
    });
    listing.answer()
}

/// A partner.
#[utoipa::path(get, path = "/v1/partners/{partner}", tag = "partners", operation_id = "get_partner",
    params(("partner" = String, Path)),
    responses((status = 200, body = Partner), (status = "4XX", body = ProblemBody)))]
pub async fn get(
    _caller: Caller<Viewer>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
) -> Answer {
    let state = admin.registry.state();
    let known = state
        .partners
        .get(name.as_str())
        .ok_or_else(|| not_found("partner", &name))?;
    resource(StatusCode::OK, known.sequence, &known.value)
}

/// Make a partner, or change it.
#[utoipa::path(put, path = "/v1/partners/{partner}", tag = "partners", operation_id = "put_partner",
    params(("partner" = String, Path), ("If-Match" = Option<String>, Header)),
    request_body = Partner,
    responses((status = 200, body = Partner), (status = 201, body = Partner), (status = "4XX", body = ProblemBody)))]
pub async fn put(
    caller: Caller<Operator>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
    body: Body,
) -> Answer {
    let name: PartnerName = named(&name)?;
    let partner = read(&read_json(body).await?)?;
    let wanted = partner.clone();
    let committed = admin
        .registry
        .commit(&caller.name, move |state| {
            decide_put(state.partners.get(&name), &precondition, &wanted, || {
                Change::PutPartner {
                    name: name.clone(),
                    partner: wanted.clone(),
                }
            })
        })
        .await?;
    let put = committed.outcome;
    resource(
        put_status(put.created),
        put.sequence(committed.state.sequence),
        &partner,
    )
}

/// Delete a partner and revoke all its keys with it.
#[utoipa::path(delete, path = "/v1/partners/{partner}", tag = "partners", operation_id = "delete_partner",
    params(("partner" = String, Path), ("If-Match" = Option<String>, Header)),
    responses((status = 204), (status = "4XX", body = ProblemBody)))]
pub async fn delete(
    caller: Caller<Operator>,
    Extract(admin): Extract<AdminState>,
    Names(name): Names<String>,
    precondition: Precondition,
) -> Answer {
    let name: PartnerName = known("partner", &name)?;
    admin
        .registry
        .commit(&caller.name, move |state| {
            precondition.check_known(state.partners.get(&name), "partner", name.as_str())?;
            Ok((Some(Change::DeletePartner { name: name.clone() }), ()))
        })
        .await?;
    no_content()
}

fn read(value: &serde_json::Value) -> Result<Partner, Problem> {
    let faults = Faults::default();
    let mut partner = Partner::default();
    let names = [
        "description",
        "source",
        "policy",
        "envelope",
        "rate_limit",
        "origins",
        "client_certificates",
        "enrich",
        "truncate_ip",
    ];
    if let Some(members) = Input::root(value, &faults).members(&names) {
        let description = members.get("description").text(DESCRIPTION_CHARACTERS_MAX);
        partner.description = description.unwrap_or_default().to_owned();
        partner.source = members
            .get("source")
            .filled_text(ATTRIBUTE_BYTES)
            .map(str::to_owned);
        partner.policy = members
            .get("policy")
            .choice(&["quarantine", "reject"])
            .unwrap_or_default();
        let envelope = members.get("envelope");
        partner.envelope = envelope.value().cloned();
        if let Some(Err(faults)) = envelope.value().map(Envelope::read) {
            for fault in faults.0 {
                envelope.fault(fault);
            }
        }
        partner.rate_limit = rate_limit(&members.get("rate_limit"));
        for origin in members.get("origins").elements(ORIGINS_MAX) {
            partner.origins.extend(self::origin(&origin));
        }
        for digest in members.get("client_certificates").elements(CERTIFICATES_MAX) {
            partner.client_certificates.extend(digest.parsed::<Digest>());
        }
        for added in members.get("enrich").elements(ENRICHMENTS_MAX) {
            let added: Option<Enrichment> = added.choice(&["client_ip", "user_agent"]);
            partner.enrich.extend(added);
        }
        partner.truncate_ip = members.get("truncate_ip").boolean().unwrap_or_default();
    }
    faults.into_result()?;
    Ok(partner)
}

fn rate_limit(input: &Input<'_>) -> Option<RateLimit> {
    let members = input.members(&["events_per_s", "bytes_per_s", "burst", "events_per_day"])?;
    let small = |name| {
        let number = members.get(name).integer(1..=u64::from(u32::MAX));
        number.and_then(|number| u32::try_from(number).ok())
    };
    Some(RateLimit {
        events_per_s: small("events_per_s"),
        bytes_per_s: members.get("bytes_per_s").integer(1..=u64::MAX),
        burst: small("burst"),
        events_per_day: members.get("events_per_day").integer(1..=EVENTS_PER_DAY_MAX),
    })
}

/// As browsers send it: scheme, host and port, without a path.
fn origin(input: &Input<'_>) -> Option<String> {
    let text = input.filled_text(300)?;
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .unwrap_or_default();
    let well_formed = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:[]_".contains(&byte));
    if !well_formed {
        input.fault(
            "must be an origin as browsers send it, such as \"https://shop.example\": lower case, no path",
        );
        return None;
    }
    Some(text.to_owned())
}
