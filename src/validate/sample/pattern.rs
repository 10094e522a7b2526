//! Texts that a regular expression matches, found by walking the expression.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::{Dice, EXTRA_MAX};

/// A repetition that must be longer is cut, and the text then matches nothing.
const REPEATS_MAX: u64 = 1000;

/// None where the expression is of a kind that only a backtracking engine takes.
pub(super) fn parse(pattern: &str) -> Option<Hir> {
    regex_syntax::parse(pattern).ok()
}

pub(super) fn text_of(pattern: &Hir, dice: &mut Dice) -> String {
    let mut text = String::new();
    write(pattern, dice, &mut text);
    text
}

fn write(pattern: &Hir, dice: &mut Dice, text: &mut String) {
    match pattern.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(Class::Unicode(class)) => {
            // What `\d` and `\w` mean beyond ASCII, engines see differently.
            let ascii: Vec<_> = class
                .ranges()
                .iter()
                .filter(|range| range.start().is_ascii())
                .collect();
            let range = dice.pick(&ascii).copied().or_else(|| class.ranges().first());
            if let Some(range) = range {
                text.push(character(range.start(), range.end(), dice));
            }
        }
        HirKind::Class(Class::Bytes(class)) => {
            if let Some(range) = dice.pick(class.ranges()) {
                text.push(character(range.start().into(), range.end().into(), dice));
            }
        }
        HirKind::Repetition(repetition) => {
            let least = u64::from(repetition.min).min(REPEATS_MAX);
            let most = repetition.max.map_or(u64::MAX, u64::from);
            let count = match dice.below(4) {
                0 => least,
                1 => most.min(least + 100),
                _ => least + dice.below(most.saturating_sub(least).min(EXTRA_MAX) + 1),
            };
            for _ in 0..count.min(REPEATS_MAX) {
                write(&repetition.sub, dice, text);
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, dice, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, dice, text)),
        HirKind::Alternation(branches) => {
            if let Some(branch) = dice.pick(branches) {
                write(branch, dice, text);
            }
        }
    }
}

/// Of a wide range one of the first characters that can be seen: the rest of Unicode teaches nothing more.
fn character(start: char, end: char, dice: &mut Dice) -> char {
    let start = if end >= ' ' { start.max(' ') } else { start };
    let end = if start.is_ascii() {
        end.min('~').max(start)
    } else {
        end
    };
    let width = u64::from(u32::from(end) - u32::from(start)).min(127) + 1;
    let offset = u32::try_from(dice.below(width)).unwrap_or_default();
    char::from_u32(u32::from(start) + offset).unwrap_or(start)
}
