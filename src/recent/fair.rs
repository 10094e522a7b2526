//! Who gives room. Pure.

use std::{collections::HashMap, sync::Arc};

use super::cell::Cell;

/// One stream holds at most this part of all.
pub(super) const CELL_SHARE: u64 = 16;
/// Room is made from this part on, so that the cache itself, which knows no partners, seldom has to …
const FULL_PERCENT: u64 = 90;
/// … down to this part.
const ROOMY_PERCENT: u64 = 80;

/// The streams to forget, so that what is left fits: partners that hold less than the others keep all that they have.
pub(super) fn surplus(cells: &[(u64, Arc<Cell>)], bytes_max: u64) -> Vec<u64> {
    let held: u64 = cells.iter().map(|(_, cell)| cell.held_bytes()).sum();
    if held <= bytes_max / 100 * FULL_PERCENT {
        return Vec::new();
    }
    let mut by_partner: HashMap<&str, Vec<&(u64, Arc<Cell>)>> = HashMap::new();
    for entry in cells {
        by_partner
            .entry(entry.1.partner.as_str())
            .or_default()
            .push(entry);
    }
    let mut sums: Vec<u64> = by_partner
        .values()
        .map(|cells| cells.iter().map(|(_, cell)| cell.held_bytes()).sum())
        .collect();
    let share = fair_share(&mut sums, bytes_max / 100 * ROOMY_PERCENT);
    let mut surplus = Vec::new();
    for cells in by_partner.values_mut() {
        let mut sum: u64 = cells.iter().map(|(_, cell)| cell.held_bytes()).sum();
        cells.sort_unstable_by_key(|(_, cell)| cell.last_ms());
        for (key, cell) in cells {
            if sum <= share {
                break;
            }
            sum -= cell.held_bytes().min(sum);
            surplus.push(*key);
        }
    }
    surplus
}

/// The most that each may hold so that all together fit into `room`: what those with less leave over, the others share.
fn fair_share(sums: &mut [u64], room: u64) -> u64 {
    sums.sort_unstable();
    let mut left = room;
    for (index, sum) in sums.iter().enumerate() {
        let share = left / (sums.len() - index) as u64;
        if *sum > share {
            return share;
        }
        left -= sum;
    }
    u64::MAX
}
