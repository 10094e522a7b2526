//! A call-tracking partner's payload becomes the company's `call.ended` record: its names, no personal data, and the
//! times that analysts ask for. See README.md.

use headworks_plugin::{Event, Failure, Output, Plugin, plugin, rejected};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};

const SALT_CHARACTERS_MIN: usize = 16;
/// What E.164 allows behind the plus, and what is too short to be a number of anybody.
const NUMBER_DIGITS: std::ops::RangeInclusive<usize> = 8..=15;

/// The route's configuration. No `Debug`: the salt is a secret.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Goes into every hash; whoever knows it can find numbers by trying them all.
    salt: String,
    /// Country code of numbers that are written without one.
    #[serde(default = "korea")]
    region: String,
}

fn korea() -> String {
    "82".to_owned()
}

/// The plugin, configured.
pub struct CallEvent {
    salt: String,
    region: String,
}

impl Plugin for CallEvent {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, String> {
        let Config { salt, region } = config;
        if salt.chars().count() < SALT_CHARACTERS_MIN {
            return Err(format!(
                "salt is too short: {SALT_CHARACTERS_MIN} characters or more, kept secret"
            ));
        }
        if !(1..=3).contains(&region.len()) || !is_digits(&region) || region.starts_with('0') {
            return Err("region is a country code of 1 to 3 digits, such as 82".to_owned());
        }
        Ok(CallEvent { salt, region })
    }

    fn transform(&self, mut event: Event) -> Result<Vec<Output>, Failure> {
        let data = &mut event.data;
        let (caller, campaign, started, connected, ended): (String, String, String, Option<String>, String) =
            data.get_many([
                "/caller_number",
                "/virtual_number",
                "/started_at",
                "/connected_at",
                "/ended_at",
            ])?;

        let started = time("/started_at", &started)?;
        let ended = time("/ended_at", &ended)?;
        let answered = connected.map(|text| time("/connected_at", &text)).transpose()?;
        if ended < started {
            return Err(rejected("/ended_at lies before /started_at"));
        }
        if answered.is_some_and(|answered| answered < started || answered > ended) {
            return Err(rejected("/connected_at lies outside of the call"));
        }

        let caller = self.hash(&self.international("/caller_number", &caller)?);
        data.rename("/call_id", "/id");
        data.set(
            "/campaign_number",
            self.international("/virtual_number", &campaign)?,
        );
        data.set("/caller", caller.as_str());
        data.set("/duration_s", whole_seconds(started, ended));
        data.set("/ring_s", whole_seconds(started, answered.unwrap_or(ended)));
        for personal in ["/virtual_number", "/caller_number", "/callee_number", "/memo"] {
            data.remove(personal);
        }
        Ok(vec![Output::new(event.data).key(caller)])
    }
}

impl CallEvent {
    /// The number in E.164: `010-0000-4821` in Korea is `+821000004821`.
    fn international(&self, pointer: &str, written: &str) -> Result<String, Failure> {
        let plain: String = written
            .chars()
            .filter(|character| !matches!(character, '-' | ' ' | '.' | '(' | ')'))
            .collect();
        let number = if let Some(number) = plain.strip_prefix('+').or_else(|| plain.strip_prefix("00")) {
            format!("+{number}")
        } else {
            let national = plain.strip_prefix('0').unwrap_or(&plain);
            format!("+{}{national}", self.region)
        };
        let digits = &number[1..];
        if is_digits(digits) && NUMBER_DIGITS.contains(&digits.len()) {
            Ok(number)
        } else {
            // Without the number itself: the reason is shown to people who may not see it.
            Err(rejected(format!("{pointer} is no phone number")))
        }
    }

    fn hash(&self, number: &str) -> String {
        let digest = Sha256::new()
            .chain_update(&self.salt)
            .chain_update(number)
            .finalize();
        hex::encode(digest)
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn time(pointer: &str, text: &str) -> Result<Timestamp, Failure> {
    text.parse()
        .map_err(|_| rejected(format!("{pointer} is no time such as 2026-11-02T10:15:30+09:00")))
}

fn whole_seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}

plugin!(CallEvent);

#[cfg(test)]
mod tests;
