//! What a configuration may hold and what an event may cost: no configuration makes an event cost without limit.

/// Steps of a configuration.
pub const STEPS_MAX: usize = 100;
/// All entries of all steps: pointers, conditions, parts of templates.
pub const ENTRIES_MAX: usize = 1_000;
/// Rows of all tables.
pub const ROWS_MAX: usize = 10_000;
/// Conditions inside of conditions.
pub const CONDITION_DEPTH_MAX: usize = 8;
/// A pointer, a template, a reason.
pub const TEXT_BYTES_MAX: usize = 4_096;
/// Records of one event, after all splits.
pub const RECORDS_MAX: usize = 1_000;
/// What one template makes.
pub const TEMPLATE_BYTES_MAX: usize = 64 << 10;
/// A URL or user agent that is parsed, and a text that is read as a number or a time.
pub const PARSED_BYTES_MAX: usize = 8 << 10;
/// What all steps together write for one event.
pub const WRITTEN_BYTES_MAX: usize = 4 << 20;
pub const SALT_CHARACTERS_MIN: usize = 16;
