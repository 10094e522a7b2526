//! What chance decides in an event: the generator's only source of it, and the values that many events share.

use chacha20::ChaCha8Rng;
use jiff::{Timestamp, tz::Offset};
use rand::{RngExt, SeedableRng};
use uuid::Builder;

/// 2026-11-02T09:00:00+09:00, when event 0 of every seed happens.
const FIRST_EVENT_MS: i64 = 1_793_577_600_000;
/// One event follows another after so long: 25 a second.
const STEP_MS: i64 = 40;
const KOREA: Offset = Offset::constant(9);
const USERS: u32 = 50_000;

/// Draws the parts of one event, always the same for the same seed and index.
pub struct Draw {
    generator: ChaCha8Rng,
    happened: Timestamp,
}

impl Draw {
    pub fn new(seed: u64, index: u64) -> Draw {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        let since_first_ms =
            i64::try_from(index % (1 << 36)).unwrap_or(0) * STEP_MS + generator.random_range(0..STEP_MS);
        let happened = Timestamp::from_millisecond(FIRST_EVENT_MS + since_first_ms).unwrap_or_default();
        Draw { generator, happened }
    }

    /// 0 to `end - 1`.
    pub fn below(&mut self, end: u32) -> u32 {
        self.generator.random_range(0..end)
    }

    pub fn between(&mut self, first: i64, last: i64) -> i64 {
        self.generator.random_range(first..=last)
    }

    pub fn percent(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.generator.random_range(0..choices.len())]
    }

    pub fn weighted<'a, T>(&mut self, choices: &'a [T], weight: impl Fn(&T) -> u32) -> &'a T {
        let mut left = self.below(choices.iter().map(&weight).sum());
        choices
            .iter()
            .find(|choice| {
                let weight = weight(choice);
                let found = left < weight;
                left = left.saturating_sub(weight);
                found
            })
            .expect("what is left is below the sum of the weights")
    }

    /// A member's or guest's number, 1 to 50,000; a few come often.
    pub fn user(&mut self) -> u32 {
        let rank = u64::from(self.below(USERS)) * u64::from(self.below(USERS)) / u64::from(USERS);
        u32::try_from(rank).unwrap_or(0) + 1
    }

    pub fn uuid(&mut self) -> String {
        Builder::from_random_bytes(self.generator.random())
            .into_uuid()
            .to_string()
    }

    /// Digits, the first of them not 0.
    pub fn digits(&mut self, count: u32) -> String {
        let first = 10_i64.pow(count - 1);
        self.between(first, first * 10 - 1).to_string()
    }

    /// RFC 3339 with milliseconds, in Korean time, so many milliseconds before (-) or after the event.
    pub fn time(&self, shift_ms: i64) -> String {
        format!("{:.3}", self.shifted(shift_ms).display_with_offset(KOREA))
    }

    /// The same, in whole seconds.
    pub fn time_s(&self, shift_s: i64) -> String {
        let happened = self.shifted(shift_s * 1000);
        format!("{:.0}", happened.display_with_offset(KOREA))
    }

    /// `YYYY-MM-DD` in Korea.
    pub fn date(&self, shift_days: i64) -> String {
        self.time_s(shift_days * 86_400)[..10].to_owned()
    }

    /// `YYYYMMDDhhmmss` in Korea.
    pub fn packed_time(&self) -> String {
        let digits = |character: &char| character.is_ascii_digit();
        self.time_s(0).chars().filter(digits).take(14).collect()
    }

    pub fn epoch_ms(&self) -> i64 {
        self.happened.as_millisecond()
    }

    pub fn epoch_s(&self) -> i64 {
        self.happened.as_second()
    }

    fn shifted(&self, shift_ms: i64) -> Timestamp {
        Timestamp::from_millisecond(self.happened.as_millisecond() + shift_ms).unwrap_or_default()
    }
}

/// `u_` and ten letters or digits, the same for the same user.
pub fn user_id(user: u32) -> String {
    let mut left = mixed(u64::from(user));
    let mut id = String::from("u_");
    for _ in 0..10 {
        let digit = u32::try_from(left % 36).unwrap_or_default();
        id.extend(char::from_digit(digit, 36));
        left /= 36;
    }
    id
}

/// The installation's UUID, the same for the same user.
pub fn anonymous_id(user: u32) -> String {
    let bits = u128::from(mixed(u64::from(user))) << 64 | u128::from(mixed(u64::from(!user)));
    Builder::from_random_bytes(bits.to_le_bytes())
        .into_uuid()
        .to_string()
}

/// Spreads neighbouring numbers over all 64 bits (the finalizer of SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
