//! What is decided by a request's head: where it goes, who sends it as far as that can be known, and whether it may.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, header, request::Parts};

use super::{
    Pipeline, Tables,
    enrich::{Added, SentFrom},
    envelopes::{Served, has_key_in_body},
    shares::Hold,
};
use crate::{
    authenticate::{Caller, Identity, Places, Signed, key_id},
    decode::{self, Head, Opened},
    event::{Instead, PartnerName},
    listener::{Admitted, ByCertificate, Consent, Peer},
    problem::{Code, Problem},
    registry::model::envelope::{Envelope, Signature},
    telemetry::Observation,
};

const EVENTS_PATH: &str = "/v1/events";
/// Before any path of a sender that can only be given a base URL; the key stands behind it.
const KEY_PATH: &str = "/k/";

/// A request whose head was taken: who sends, what the head says, and the registry as it was then.
pub struct Admission {
    pub(super) tables: Arc<Tables>,
    sender: Sender,
    hold: Hold,
    /// Bytes of the body that were charged before it came.
    charged_bytes: usize,
    sent_from: Option<SentFrom>,
    pub(super) every_result: bool,
    pub(super) dry_run: bool,
    /// Where this request is looked at closely.
    pub(super) observation: Option<Box<Observation>>,
}

enum Sender {
    Known(Identity, Box<Head>),
    /// Known once the signature was compared with the body.
    Signed(Box<Signed>, Box<Head>),
    /// The key is in the body, where one of these envelopes has it.
    InBody(Caller, Vec<Head>),
}

/// A request whose sender is known.
pub(super) struct Known {
    pub identity: Identity,
    pub content: Content,
    /// What its answer is, where the sender does not read ours.
    pub instead: Option<Instead>,
    pub added: Added,
}

pub(super) enum Content {
    /// Not yet read.
    Plain(Box<Head>),
    Enveloped(Box<Opened>),
}

/// Where a request goes.
enum Target<'a> {
    Events(&'a str),
    Envelope(&'a str),
}

struct Address<'a> {
    target: Target<'a>,
    key: Option<&'a str>,
}

fn address(path: &str) -> Address<'_> {
    let (key, path) = match path.strip_prefix(KEY_PATH) {
        Some(rest) => {
            let at = rest.find('/').unwrap_or(rest.len());
            let (key, path) = rest.split_at(at);
            (Some(key), path)
        }
        None => (None, path),
    };
    let is_events = path
        .strip_prefix(EVENTS_PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let target = if is_events {
        Target::Events(path)
    } else {
        Target::Envelope(path)
    };
    Address { target, key }
}

fn path_unknown() -> Problem {
    Problem::new(
        Code::PathUnknown,
        "events go to /v1/events or /v1/events/{type}, or to a path of the partner's envelope",
    )
}

/// The parameter by which a signed request names its key. In the query of a GET everything is data.
fn signing_key_id(head: &Parts) -> Option<String> {
    let query = head.uri.query().filter(|_| head.method == Method::POST)?;
    key_id(query).map(|id| id.into_owned())
}

impl Pipeline {
    pub(super) fn admit_head(&self, head: &Parts, peer: &Peer) -> Result<Admission, Problem> {
        if self.is_stopping() {
            return Err(Problem::new(
                Code::ShuttingDown,
                "this node is shutting down; send the request again",
            ));
        }
        let tables = self.tables();
        let address = address(head.uri.path());
        let caller = Caller::new(head, peer.certificate);
        let sender = match address.target {
            Target::Events(path) => {
                let read = Box::new(Head::read(head, path)?);
                match signing_key_id(head) {
                    Some(id) => {
                        no_other_key(head, &caller, &tables, address.key)?;
                        let signed = tables.keys.signed(head, caller, &id, &Signature::standard())?;
                        Sender::Signed(Box::new(signed), read)
                    }
                    None => {
                        let places = Places {
                            path: address.key,
                            declared: Vec::new(),
                        };
                        Sender::Known(identify(&tables, head, &caller, &places)?, read)
                    }
                }
            }
            Target::Envelope(path) => enveloped(head, caller, &tables, path, address.key)?,
        };
        let (every_result, dry_run) = match &sender {
            Sender::Known(_, head) | Sender::Signed(_, head) => (head.every_result, head.dry_run),
            Sender::InBody(..) => (false, false),
        };
        let mut charged_bytes = 0;
        let hold = match &sender {
            Sender::Known(identity, _) => {
                let partner = &identity.partner;
                tables.rates.check(partner)?;
                let hold = tables.shares.take(Some(partner))?;
                // Charged before the body comes: those that come at once do not all find the same room.
                charged_bytes = declared_bytes(head);
                tables.rates.charge(partner, 1, charged_bytes);
                hold
            }
            Sender::Signed(..) | Sender::InBody(..) => tables.shares.take(None)?,
        };
        let partner = match &sender {
            Sender::Known(identity, _) => Some(&identity.partner),
            Sender::Signed(..) | Sender::InBody(..) => None,
        };
        Ok(Admission {
            sent_from: SentFrom::read(head, peer, &tables, partner),
            tables,
            sender,
            hold,
            charged_bytes,
            every_result,
            dry_run,
            observation: self.telemetry.observation(|| {
                let traceparent = head.headers.get("traceparent")?;
                traceparent.to_str().ok()
            }),
        })
    }

    /// Consent is given where the question names a live key: who registers somebody else's gateway as a webhook's target
    /// has none.
    pub(super) fn consent_to(&self, head: &Parts, peer: &Peer) -> Consent {
        let tables = self.tables();
        let address = address(head.uri.path());
        let partner = match key_id(head.uri.query().unwrap_or_default()) {
            Some(id) => tables.keys.signer(&id).cloned(),
            None => {
                let places = Places {
                    path: address.key,
                    declared: match address.target {
                        Target::Events(_) => Vec::new(),
                        Target::Envelope(path) => places_at(tables.envelopes.at(path)),
                    },
                };
                let caller = Caller::new(head, peer.certificate);
                let identity = tables.keys.identify(head, &caller, &places);
                identity.ok().map(|identity| identity.partner)
            }
        };
        match partner {
            None => Consent::None,
            Some(partner) => tables
                .rates
                .events_per_s(&partner)
                .map_or(Consent::AnyRate, |rate| Consent::PerMinute(u64::from(rate) * 60)),
        }
    }
}

fn places_at(envelopes: &[Arc<Envelope>]) -> Vec<&crate::registry::model::envelope::KeyPlace> {
    envelopes
        .iter()
        .filter_map(|envelope| envelope.key.as_ref())
        .collect()
}

/// A signed request carries no key beside its signature: the two could belong to different partners.
fn no_other_key(head: &Parts, caller: &Caller, tables: &Tables, path: Option<&str>) -> Result<(), Problem> {
    let places = Places {
        path,
        declared: Vec::new(),
    };
    match tables.keys.identify(head, caller, &places) {
        Err(problem) if problem.code == Code::KeyMissing => Ok(()),
        _ => Err(Problem::new(
            Code::KeyConflict,
            "the request names a signing key by key_id and carries another key; send one of them",
        )),
    }
}

fn enveloped(
    head: &Parts,
    caller: Caller,
    tables: &Tables,
    path: &str,
    key: Option<&str>,
) -> Result<Sender, Problem> {
    let at_path = tables.envelopes.at(path);
    if key.is_none() && at_path.is_empty() {
        return Err(path_unknown());
    }
    if !matches!(head.method, Method::GET | Method::POST) {
        return Err(Problem::method_not_allowed("GET, POST, OPTIONS"));
    }
    if let Some(id) = signing_key_id(head) {
        no_other_key(head, &caller, tables, key)?;
        return signed(head, caller, tables, path, &id);
    }
    let places = Places {
        path: key,
        declared: places_at(at_path),
    };
    match tables.keys.identify(head, &caller, &places) {
        Ok(identity) => {
            let served = tables.envelopes.of(&identity.partner);
            let envelope = served
                .filter(|served| key.is_some() || served.envelope.serves(path))
                .map(|served| Arc::clone(&served.envelope))
                .ok_or_else(path_unknown)?;
            if envelope.signature.is_some() {
                return Err(Problem::new(
                    Code::KeyForbidden,
                    "this partner's envelope asks for signed requests: name the signing key by ?key_id= in the URL",
                ));
            }
            Ok(Sender::Known(
                identity,
                Box::new(Head::enveloped(head, envelope)?),
            ))
        }
        Err(problem) if problem.code == Code::KeyMissing => {
            let heads = at_path
                .iter()
                .filter(|envelope| has_key_in_body(envelope))
                .map(|envelope| Head::enveloped(head, Arc::clone(envelope)))
                .collect::<Result<Vec<_>, Problem>>()?;
            if heads.is_empty() {
                return Err(problem);
            }
            Ok(Sender::InBody(caller, heads))
        }
        Err(problem) => Err(problem),
    }
}

fn signed(head: &Parts, caller: Caller, tables: &Tables, path: &str, id: &str) -> Result<Sender, Problem> {
    let own = tables
        .keys
        .signer(id)
        .and_then(|partner| tables.envelopes.of(partner))
        .map(|served| &served.envelope)
        .filter(|envelope| envelope.serves(path));
    // A key that nobody has is worked on like one that has signed: which ids there are is nobody's business.
    let envelope = own
        .or_else(|| tables.envelopes.at(path).first())
        .ok_or_else(path_unknown)?;
    let signature = envelope.signature.clone().unwrap_or_else(Signature::standard);
    let signed = tables.keys.signed(head, caller, id, &signature)?;
    let head = Head::enveloped(head, Arc::clone(envelope))?;
    Ok(Sender::Signed(Box::new(signed), Box::new(head)))
}

/// By key, or by the certificate where a connection for lines is known by that.
pub(super) fn identify(
    tables: &Tables,
    head: &Parts,
    caller: &Caller,
    places: &Places<'_>,
) -> Result<Identity, Problem> {
    if head.extensions.get::<ByCertificate>().is_some() {
        return tables.keys.identify_certificate(caller);
    }
    tables.keys.identify(head, caller, places)
}

/// By `Content-Length`; a body in chunks says nothing before it comes.
fn declared_bytes(head: &Parts) -> usize {
    let value = head.headers.get(header::CONTENT_LENGTH);
    let text = value.and_then(|value| value.to_str().ok());
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Admitted for Admission {
    fn hold(&mut self, bytes: u64) -> Result<(), Problem> {
        self.hold.grow(bytes)
    }
}

impl Admission {
    /// Whose request this is, now that its body is there.
    pub(super) fn settle(
        self,
        body: &Bytes,
        limits: &crate::limits::Limits,
    ) -> Result<(Arc<Tables>, Known, Hold), Problem> {
        let Admission {
            tables,
            sender,
            mut hold,
            charged_bytes,
            sent_from,
            ..
        } = self;
        let added = |partner: &PartnerName| {
            let sent_from = sent_from.as_ref();
            sent_from.map_or_else(Added::default, |from| from.added(tables.enrich(partner)))
        };
        let settle = |hold, partner: &PartnerName| {
            tables.rates.check(partner)?;
            let hold = tables.shares.settle(hold, partner)?;
            tables.rates.charge(partner, 1, body.len());
            Ok::<Hold, Problem>(hold)
        };
        let (identity, head) = match sender {
            Sender::Known(identity, head) => {
                // What cannot be read costs its bytes as well.
                let rest = body.len().saturating_sub(charged_bytes);
                tables.rates.charge(&identity.partner, 0, rest);
                (identity, head)
            }
            Sender::Signed(signed, head) => {
                let identity = signed.verify(body)?;
                hold = settle(hold, &identity.partner)?;
                (identity, head)
            }
            Sender::InBody(caller, heads) => {
                let mut known = in_body(&tables, &caller, heads, body, limits)?;
                known.added = added(&known.identity.partner);
                hold = settle(hold, &known.identity.partner)?;
                hold.grow(known.grown_bytes(body))?;
                return Ok((tables, known, hold));
            }
        };
        let wants_image = head.wants_image;
        let (content, served) = if head.is_enveloped() {
            let opened = decode::open(*head, body, limits)?;
            (
                Content::Enveloped(Box::new(opened)),
                answer_of(&tables, &identity.partner),
            )
        } else {
            (Content::Plain(head), None)
        };
        let instead = if wants_image { Some(pixel()) } else { served };
        let known = Known {
            added: added(&identity.partner),
            identity,
            content,
            instead,
        };
        hold.grow(known.grown_bytes(body))?;
        Ok((tables, known, hold))
    }
}

impl Known {
    /// What an opened envelope holds more than the body that it came in.
    fn grown_bytes(&self, body: &Bytes) -> u64 {
        match &self.content {
            Content::Plain(_) => 0,
            Content::Enveloped(opened) => opened.bytes().saturating_sub(body.len()) as u64,
        }
    }
}

fn answer_of(tables: &Tables, partner: &PartnerName) -> Option<Instead> {
    tables
        .envelopes
        .of(partner)
        .and_then(|Served { instead, .. }| instead.clone())
}

/// Finds the key in the body, as each envelope has it there. What one of them cannot read may be another's.
fn in_body(
    tables: &Tables,
    caller: &Caller,
    heads: Vec<Head>,
    body: &Bytes,
    limits: &crate::limits::Limits,
) -> Result<Known, Problem> {
    let mut refusal = None;
    for head in heads {
        let opened = match decode::open(head, body, limits) {
            Ok(opened) => opened,
            Err(problem) => {
                refusal.get_or_insert(problem);
                continue;
            }
        };
        let Some(key) = opened.key()? else { continue };
        let identity = tables.keys.identify_text(&key, caller)?;
        let served = tables.envelopes.of(&identity.partner).ok_or_else(path_unknown)?;
        if !opened.is_by(&served.envelope) {
            // The key is where another partner's envelope has it.
            refusal.get_or_insert_with(path_unknown);
            continue;
        }
        return Ok(Known {
            added: Added::default(),
            instead: served.instead.clone(),
            identity,
            content: Content::Enveloped(Box::new(opened)),
        });
    }
    Err(refusal.unwrap_or_else(|| {
        Problem::new(
            Code::KeyMissing,
            "the request holds no key where the envelopes that are served here have it",
        )
    }))
}

/// What a page's `<img>` shows: one transparent dot.
fn pixel() -> Instead {
    const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
    Instead {
        status: 202,
        content_type: "image/gif".into(),
        body: Bytes::from_static(GIF),
    }
}
