//! The normal form: which members it has, and how each is written.

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::Deserialize;

/// One member of the normal form.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// As the configuration names it.
    pub name: &'static str,
    /// Where it stands in the record.
    pub pointer: &'static str,
    pub kind: Kind,
}

/// What a parameter must hold, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    LowerCase,
    UpperCase,
    Os,
    /// An advertising or vendor id: UUIDs and other hexadecimal ids in lower case, zeros are none.
    DeviceId,
    Ip,
    UserId,
    Time,
    /// A JSON number, in its own spelling.
    Amount,
    /// A code of ISO 4217.
    Currency,
    Flag,
    /// Whether the text says that nobody is credited; anything else says the opposite.
    Organic,
    /// One or many texts; as an array.
    Texts,
}

/// What can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Personal {
    DeviceIds,
    Ip,
    UserId,
}

impl Member {
    pub fn by_name(name: &str) -> Option<&'static Member> {
        MEMBERS.iter().find(|member| member.name == name)
    }

    pub fn personal(&self) -> Option<Personal> {
        match self.kind {
            Kind::DeviceId => Some(Personal::DeviceIds),
            Kind::Ip => Some(Personal::Ip),
            Kind::UserId => Some(Personal::UserId),
            _ => None,
        }
    }
}

const fn member(name: &'static str, pointer: &'static str, kind: Kind) -> Member {
    Member { name, pointer, kind }
}

/// In the order in which they stand in a record.
pub const MEMBERS: [Member; 40] = [
    member("event", "/event", Kind::Text),
    member("app_id", "/app_id", Kind::Text),
    member("app_version", "/app_version", Kind::Text),
    member("os", "/os", Kind::Os),
    member("os_version", "/os_version", Kind::Text),
    member("device_id", "/device_id", Kind::DeviceId),
    member("idfa", "/device_ids/idfa", Kind::DeviceId),
    member("gaid", "/device_ids/gaid", Kind::DeviceId),
    member("oaid", "/device_ids/oaid", Kind::DeviceId),
    member("idfv", "/device_ids/idfv", Kind::DeviceId),
    member("android_id", "/device_ids/android_id", Kind::DeviceId),
    member("partner_device_id", "/device_ids/partner", Kind::DeviceId),
    member("device_model", "/device_model", Kind::Text),
    member("user_id", "/user/id", Kind::UserId),
    member("network", "/network", Kind::Text),
    member("channel", "/channel", Kind::Text),
    member("campaign", "/campaign", Kind::Text),
    member("campaign_id", "/campaign_id", Kind::Text),
    member("ad_group", "/ad_group", Kind::Text),
    member("ad_group_id", "/ad_group_id", Kind::Text),
    member("ad", "/ad", Kind::Text),
    member("ad_id", "/ad_id", Kind::Text),
    member("site_id", "/site_id", Kind::Text),
    member("keyword", "/keyword", Kind::Text),
    member("click_id", "/click_id", Kind::Text),
    member("attributed", "/attributed", Kind::Flag),
    member("organic", "/organic", Kind::Organic),
    member("retargeting", "/retargeting", Kind::Flag),
    member("touch_type", "/touch_type", Kind::LowerCase),
    member("view_through", "/view_through", Kind::Flag),
    member("touched_at", "/touched_at", Kind::Time),
    member("installed_at", "/installed_at", Kind::Time),
    member("occurred_at", "/occurred_at", Kind::Time),
    member("revenue", "/revenue", Kind::Amount),
    member("currency", "/currency", Kind::Currency),
    member("touch", "/touch", Kind::Texts),
    member("ip", "/ip", Kind::Ip),
    member("country", "/country", Kind::UpperCase),
    member("language", "/language", Kind::Text),
    member("user_agent", "/user_agent", Kind::Text),
];

/// The device ids that stand for the device where a partner names none, the best first.
pub const DEVICE_IDS: [&str; 6] = ["idfa", "gaid", "oaid", "idfv", "android_id", "partner_device_id"];

/// How times are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Times {
    #[default]
    Rfc3339,
    EpochS,
    EpochMs,
}

/// What senders write where they have nothing, and macros that nobody has filled in.
pub fn is_nothing(text: &str) -> bool {
    const NOTHING: [&str; 5] = ["null", "none", "undefined", "n/a", "nan"];
    if text.is_empty() || NOTHING.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return true;
    }
    let macro_marks = [("${", "}"), ("{", "}"), ("[", "]"), ("~(", ")~"), ("(", ")")];
    let is_name = |inner: &str| {
        inner
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.~!?()|{}$".contains(&byte))
    };
    macro_marks.iter().any(|(open, close)| {
        let inner = text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
        inner.is_some_and(is_name)
    })
}

/// None where all of it is zeros: the user lets nobody have it.
pub fn device_id(text: &str) -> Option<String> {
    if text.bytes().all(|byte| matches!(byte, b'0' | b'-')) {
        return None;
    }
    let is_hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    Some(if is_hexadecimal {
        text.to_ascii_lowercase()
    } else {
        text.to_owned()
    })
}

pub fn os(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    match lower.as_str() {
        "iphone" | "iphone os" | "ipados" | "ipad" | "ios_app" => "ios".to_owned(),
        "android_app" => "android".to_owned(),
        _ => lower,
    }
}

pub fn flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// The networks by which partners say that there was none.
pub fn is_nobody(network: &str) -> bool {
    ["organic", "unattributed"]
        .iter()
        .any(|word| network.eq_ignore_ascii_case(word))
}

pub fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Seconds, milliseconds or microseconds since 1970 by their size; RFC 3339; and a date and time without an offset, which
/// is UTC. `Some(None)` is zero, by which senders say that there is none.
pub fn time(text: &str) -> Option<Option<Timestamp>> {
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return epoch(text);
    }
    if let Ok(time) = text.parse() {
        return Some(Some(time));
    }
    let local: DateTime = text.parse().ok()?;
    TimeZone::UTC.to_timestamp(local).ok().map(Some)
}

fn epoch(text: &str) -> Option<Option<Timestamp>> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    if whole == 0 {
        return Some(None);
    }
    let time = match whole {
        1..100_000_000_000 => {
            let mut digits: String = fraction.chars().take(9).collect();
            while digits.len() < 9 {
                digits.push('0');
            }
            Timestamp::new(whole, digits.parse().ok()?)
        }
        100_000_000_000..10_000_000_000_000 => Timestamp::from_millisecond(whole),
        100_000_000_000_000..10_000_000_000_000_000 => Timestamp::from_microsecond(whole),
        // Neither: 20261102101530 is a date, and nobody says in which zone.
        _ => return None,
    };
    time.ok().map(Some)
}
