//! The sample company's traffic, in any volume, from a seed.
//!
//! Event `index` of a [`Mix`] depends on the seed, the index and the rate of broken events alone, and its id names
//! seed and index: whoever holds a record can make its event again and compare.

#[path = "mix/app.rs"]
mod app;
#[path = "mix/breaks.rs"]
mod breaks;
#[path = "mix/commerce.rs"]
mod commerce;
#[path = "mix/draw.rs"]
mod draw;
#[path = "mix/partners.rs"]
mod partners;
#[path = "mix/request.rs"]
mod request;

use draw::Draw;
use serde_json::{Value, json};

/// Whose events the mix holds: the names of `partners/NAME.toml`.
pub const PARTNERS: [&str; 5] = ["haneul-app", "haneul-web", "callbridge", "baram-card", "adlink"];

/// One event as a sender makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct GeneratedEvent {
    /// `SEED-INDEX`.
    pub id: String,
    pub event_type: &'static str,
    pub source: &'static str,
    /// Absent where the sender names no version, as web pages do: the latest schema counts.
    pub app_version: Option<&'static str>,
    pub partner: &'static str,
    /// RFC 3339.
    pub time: String,
    pub data: Value,
    /// The data breaks the schema that type and app version resolve to; otherwise it fits it.
    pub broken: bool,
}

/// The event in CloudEvents' JSON form.
impl From<&GeneratedEvent> for Value {
    fn from(event: &GeneratedEvent) -> Value {
        let mut envelope = json!({
            "specversion": "1.0",
            "id": event.id,
            "source": event.source,
            "type": event.event_type,
            "time": event.time,
            "data": event.data,
        });
        if let Some(version) = event.app_version {
            envelope["appversion"] = version.into();
        }
        envelope
    }
}

/// An endless, reproducible sequence of events.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    seed: u64,
    broken_per_mille: u16,
}

impl Mix {
    /// Without broken events.
    pub fn new(seed: u64) -> Mix {
        Mix {
            seed,
            broken_per_mille: 0,
        }
    }

    /// Breaks so many of a thousand events, chosen by the seed; more than 1000 means all.
    pub fn with_broken_per_mille(self, broken_per_mille: u16) -> Mix {
        Mix {
            broken_per_mille,
            ..self
        }
    }

    /// The event at `index`, whichever were asked for before.
    pub fn event(&self, index: u64) -> GeneratedEvent {
        let mut draw = Draw::new(self.seed, index);
        let broken = draw.below(1000) < u32::from(self.broken_per_mille);
        let kind = draw.weighted(KINDS, |kind| kind.weight);
        let (partner, source, app_version, mut data) = match kind.origin {
            Origin::Client {
                web_percent,
                oldest,
                data,
            } => {
                let client = Client::draw(&mut draw, web_percent, oldest);
                let (partner, source) = match client.platform {
                    "web" => ("haneul-web", "https://www.haneul.example/"),
                    "ios" => ("haneul-app", "/apps/haneul-ios"),
                    _ => ("haneul-app", "/apps/haneul-android"),
                };
                (partner, source, client.app_version, data(&mut draw, &client))
            }
            Origin::Partner {
                partner,
                source,
                api_version,
                data,
            } => (partner, source, api_version, data(&mut draw)),
        };
        if broken {
            breaks::break_one(&mut data, &mut draw);
        }
        GeneratedEvent {
            id: format!("{}-{index}", self.seed),
            event_type: kind.event_type,
            source,
            app_version,
            partner,
            time: draw.time(0),
            data,
            broken,
        }
    }

    /// The event that has this id, where it is one of this mix.
    pub fn event_of_id(&self, id: &str) -> Option<GeneratedEvent> {
        let (seed, index) = id.split_once('-')?;
        let event = self.event(index.parse().ok()?);
        (seed.parse() == Ok(self.seed) && event.id == id).then_some(event)
    }
}

/// What the company's apps put into their events, by the release that changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shape {
    V3_0,
    V4_2,
    V5_0,
    V5_9,
    V5_10,
}

/// The app, or the web page, that sends an event.
struct Client {
    shape: Shape,
    app_version: Option<&'static str>,
    platform: &'static str,
    user: u32,
    /// Members are logged in; guests are known by the installation alone.
    member: bool,
}

impl Client {
    fn draw(draw: &mut Draw, web_percent: u32, oldest: Shape) -> Client {
        let web = draw.percent(web_percent);
        let (app_version, shape) = if web {
            (None, Shape::V5_10)
        } else {
            let installed = draw.weighted(
                FLEET,
                |release| {
                    if release.shape < oldest { 0 } else { release.weight }
                },
            );
            (Some(installed.version), installed.shape)
        };
        let platform = if web {
            "web"
        } else if draw.percent(38) {
            "ios"
        } else {
            "android"
        };
        Client {
            shape,
            app_version,
            platform,
            user: draw.user(),
            member: draw.percent(if web { 45 } else { 80 }),
        }
    }
}

/// A release of the app that is still installed somewhere.
struct Release {
    version: &'static str,
    shape: Shape,
    weight: u32,
}

const fn release(version: &'static str, shape: Shape, weight: u32) -> Release {
    Release {
        version,
        shape,
        weight,
    }
}

const FLEET: &[Release] = &[
    release("3.0.4", Shape::V3_0, 4),
    release("3.8.1", Shape::V3_0, 14),
    release("4.1.9", Shape::V3_0, 9),
    release("4.2.0", Shape::V4_2, 12),
    release("4.6.3", Shape::V4_2, 38),
    release("5.0.0", Shape::V5_0, 16),
    release("5.2", Shape::V5_0, 45),
    release("5.4.1", Shape::V5_0, 72),
    release("5.9.2", Shape::V5_9, 130),
    release("5.10.0-rc1", Shape::V5_9, 6),
    release("5.10.0", Shape::V5_10, 110),
    release("5.10.3+51034", Shape::V5_10, 164),
    release("5.11.0", Shape::V5_10, 300),
    release("v5.11.1", Shape::V5_10, 80),
];

/// A kind of event and how many of a thousand are of it.
struct Kind {
    event_type: &'static str,
    weight: u32,
    origin: Origin,
}

#[derive(Clone, Copy)]
enum Origin {
    Client {
        web_percent: u32,
        /// Releases before this did not send it.
        oldest: Shape,
        data: fn(&mut Draw, &Client) -> Value,
    },
    Partner {
        partner: &'static str,
        source: &'static str,
        api_version: Option<&'static str>,
        data: fn(&mut Draw) -> Value,
    },
}

const fn client(
    event_type: &'static str,
    weight: u32,
    web_percent: u32,
    oldest: Shape,
    data: fn(&mut Draw, &Client) -> Value,
) -> Kind {
    Kind {
        event_type,
        weight,
        origin: Origin::Client {
            web_percent,
            oldest,
            data,
        },
    }
}

const fn partner(
    event_type: &'static str,
    weight: u32,
    partner: (&'static str, &'static str),
    api_version: Option<&'static str>,
    data: fn(&mut Draw) -> Value,
) -> Kind {
    Kind {
        event_type,
        weight,
        origin: Origin::Partner {
            partner: partner.0,
            source: partner.1,
            api_version,
            data,
        },
    }
}

const CALLBRIDGE: (&str, &str) = ("callbridge", "https://api.callbridge.example/");
const BARAM_CARD: (&str, &str) = ("baram-card", "https://pay.baramcard.example/");
const ADLINK: (&str, &str) = ("adlink", "https://t.adlink.example/");

const KINDS: &[Kind] = &[
    client("app.page_view", 420, 25, Shape::V3_0, app::page_view),
    client("app.opened", 110, 0, Shape::V3_0, app::opened),
    client("app.search", 90, 20, Shape::V3_0, app::search),
    client("app.signup_completed", 6, 30, Shape::V4_2, app::signup_completed),
    client("app.push_opened", 40, 0, Shape::V4_2, app::push_opened),
    client("app.quote_requested", 14, 35, Shape::V5_0, app::quote_requested),
    client(
        "commerce.product_viewed",
        140,
        30,
        Shape::V4_2,
        commerce::product_viewed,
    ),
    client(
        "commerce.product_added",
        45,
        25,
        Shape::V5_0,
        commerce::product_added,
    ),
    client(
        "commerce.checkout_started",
        18,
        25,
        Shape::V5_0,
        commerce::checkout_started,
    ),
    client(
        "commerce.order_completed",
        12,
        20,
        Shape::V4_2,
        commerce::order_completed,
    ),
    client(
        "commerce.order_refunded",
        2,
        20,
        Shape::V5_0,
        commerce::order_refunded,
    ),
    partner("call.ended", 25, CALLBRIDGE, None, partners::call_ended),
    partner(
        "card.approved",
        6,
        BARAM_CARD,
        Some("1.4"),
        partners::card_approved_v1,
    ),
    partner(
        "card.approved",
        18,
        BARAM_CARD,
        Some("2.1"),
        partners::card_approved_v2,
    ),
    partner(
        "card.cancelled",
        4,
        BARAM_CARD,
        Some("2.1"),
        partners::card_cancelled,
    ),
    partner("campaign.click", 35, ADLINK, None, partners::campaign_click),
    partner(
        "attribution.postback",
        15,
        ADLINK,
        None,
        partners::attribution_postback,
    ),
];
