//! From a set of names to its numbers: found without a lock, made once, and never more than the cap.

use std::{collections::HashMap, hash::BuildHasher as _, sync::Arc};

use arc_swap::ArcSwap;
use foldhash::fast::{FixedState, RandomState};
use parking_lot::Mutex;

/// What stands for all names beyond the cap, and for names that the registry does not know.
pub const OTHER: &str = "other";

/// `S` by `N` names.
pub(super) struct Book<const N: usize, S> {
    /// By a keyed hash of their names.
    pages: ArcSwap<HashMap<u64, Arc<Page<N, S>>, FixedState>>,
    hasher: RandomState,
    writing: Mutex<()>,
    most: usize,
    /// Where there is no room for another.
    overflow: Arc<Page<N, S>>,
    make: fn() -> S,
}

/// One set of names with its numbers.
pub struct Page<const N: usize, S> {
    pub names: [Box<str>; N],
    pub numbers: S,
}

impl<const N: usize, S> Page<N, S> {
    pub fn is_of(&self, names: [&str; N]) -> bool {
        self.names.iter().zip(names).all(|(one, other)| **one == *other)
    }
}

impl<const N: usize, S> Book<N, S> {
    pub fn new(most: usize, make: fn() -> S) -> Book<N, S> {
        Book {
            pages: ArcSwap::default(),
            hasher: RandomState::default(),
            writing: Mutex::default(),
            most,
            overflow: Arc::new(Page {
                names: [OTHER; N].map(Box::from),
                numbers: make(),
            }),
            make,
        }
    }

    /// The numbers of these names; those of all that there is no room for, where there is none.
    pub fn page(&self, names: [&str; N]) -> Arc<Page<N, S>> {
        let key = self.hasher.hash_one(names);
        if let Some(page) = self.pages.load().get(&key) {
            return self.hold_to(page, names);
        }
        self.make_page(key, names)
    }

    #[cold]
    fn make_page(&self, key: u64, names: [&str; N]) -> Arc<Page<N, S>> {
        if self.pages.load().len() >= self.most || names == [OTHER; N] {
            return Arc::clone(&self.overflow);
        }
        let _alone = self.writing.lock();
        let known = self.pages.load_full();
        if let Some(page) = known.get(&key) {
            return self.hold_to(page, names);
        }
        if known.len() >= self.most {
            return Arc::clone(&self.overflow);
        }
        let page = Arc::new(Page {
            names: names.map(Box::from),
            numbers: (self.make)(),
        });
        let mut pages = HashMap::clone(&known);
        pages.insert(key, Arc::clone(&page));
        self.pages.store(Arc::new(pages));
        page
    }

    /// Two sets of names that share a hash share no numbers.
    fn hold_to(&self, page: &Arc<Page<N, S>>, names: [&str; N]) -> Arc<Page<N, S>> {
        Arc::clone(if page.is_of(names) { page } else { &self.overflow })
    }

    /// All of them, in the order of their names, the overflow last.
    pub fn all(&self) -> Vec<Arc<Page<N, S>>> {
        let mut all: Vec<_> = self.pages.load().values().cloned().collect();
        all.sort_unstable_by(|one, other| one.names.cmp(&other.names));
        all.push(Arc::clone(&self.overflow));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn names_beyond_the_cap_share_one_page() {
        let book: Book<2, AtomicU64> = Book::new(100, AtomicU64::default);
        let mut handed = 0;
        for number in 0..1_000_000_u32 {
            let name = number.wrapping_mul(2_654_435_761).to_string();
            let page = book.page(["p", &name]);
            page.numbers.fetch_add(1, Ordering::Relaxed);
            handed += 1;
        }
        let all = book.all();
        assert_eq!(all.len(), 101);
        let sum: u64 = all.iter().map(|page| page.numbers.load(Ordering::Relaxed)).sum();
        assert_eq!(sum, handed, "nothing is lost, whatever its name");
        assert_eq!(book.overflow.numbers.load(Ordering::Relaxed), 1_000_000 - 100);
    }

    #[test]
    fn the_same_names_lead_to_the_same_page_for_all_threads() {
        let book: Book<1, AtomicU64> = Book::new(10, AtomicU64::default);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for number in 0..1000 {
                        let name = (number % 10).to_string();
                        book.page([&name]).numbers.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let counts: Vec<u64> = book
            .all()
            .iter()
            .map(|page| page.numbers.load(Ordering::Relaxed))
            .collect();
        assert_eq!(counts, [[400].repeat(10), vec![0]].concat());
    }
}
