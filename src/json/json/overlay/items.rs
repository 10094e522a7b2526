//! A list that loses elements anywhere without moving all that follow.

/// Elements in chunks of bounded size.
#[derive(Clone, Debug)]
pub(super) struct Items<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

const CHUNK_LEN: usize = 512;

impl<T> Items<T> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The chunk and the place in it of `position`, if it is there.
    fn locate(&self, mut position: usize) -> Option<(usize, usize)> {
        for (chunk, items) in self.chunks.iter().enumerate() {
            if position < items.len() {
                return Some((chunk, position));
            }
            position -= items.len();
        }
        None
    }

    pub(super) fn get(&self, position: usize) -> Option<&T> {
        let (chunk, place) = self.locate(position)?;
        self.chunks[chunk].get(place)
    }

    pub(super) fn get_mut(&mut self, position: usize) -> Option<&mut T> {
        let (chunk, place) = self.locate(position)?;
        self.chunks[chunk].get_mut(place)
    }

    pub(super) fn push(&mut self, item: T) {
        self.len += 1;
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK_LEN) {
            Some(chunk) => chunk.push(item),
            None => self.chunks.push(vec![item]),
        }
    }

    pub(super) fn remove(&mut self, position: usize) -> Option<T> {
        let (chunk, place) = self.locate(position)?;
        let item = self.chunks[chunk].remove(place);
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
        }
        self.len -= 1;
        Some(item)
    }

    /// Puts back what [`Items::remove`] took from `position`.
    pub(super) fn insert(&mut self, position: usize, item: T) {
        match self.locate(position) {
            Some((chunk, place)) => {
                self.chunks[chunk].insert(place, item);
                self.len += 1;
            }
            None => self.push(item),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

impl<T> FromIterator<T> for Items<T> {
    fn from_iter<I: IntoIterator<Item = T>>(source: I) -> Items<T> {
        let mut items = Items {
            chunks: Vec::new(),
            len: 0,
        };
        for item in source {
            items.push(item);
        }
        items
    }
}
