//! Copying an array or object while some of its children change: what stays is copied in runs as long as can be.

use std::ops::Range;

use super::node::Node;

/// Writes one array or object from its original text.
pub(super) struct Splice<'t, 'o> {
    out: &'o mut Vec<u8>,
    text: &'t str,
    /// What is to be copied before anything else is written.
    run: Option<Range<usize>>,
    is_first: bool,
}

impl<'t, 'o> Splice<'t, 'o> {
    /// `text` is the text that the offsets of all other calls point into.
    pub(super) fn new(out: &'o mut Vec<u8>, text: &'t str, opening: u8) -> Splice<'t, 'o> {
        out.push(opening);
        Splice {
            out,
            text,
            run: None,
            is_first: true,
        }
    }

    /// Keeps the child that stands at `child`, its name included.
    pub(super) fn keep(&mut self, child: Range<usize>) {
        match &mut self.run {
            Some(run) => run.end = child.end,
            None => {
                self.separate();
                self.run = Some(space_before(self.text, child.start)..child.end);
            }
        }
    }

    /// Keeps the children from the one that starts at `first` to the one before that which starts at `next`.
    pub(super) fn keep_before(&mut self, first: usize, next: usize) {
        let comma = space_before(self.text, next) - 1;
        self.keep(first..space_before(self.text, comma));
    }

    /// Keeps the child that stands at `child`, except for its value at `value`, which `write` replaces.
    pub(super) fn replace(
        &mut self,
        child: Range<usize>,
        value: Range<usize>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.keep(child.start..value.start);
        self.flush();
        write(self.out);
        self.run = Some(value.end..value.end);
    }

    /// Ends the run: what follows in the text up to the next child kept is left out.
    pub(super) fn skip(&mut self) {
        self.flush();
    }

    /// Writes a child that does not stand in the text.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.flush();
        self.separate();
        write(self.out);
    }

    /// Ends with the closing bracket and the white space that stands before it in the text; see [`closing`].
    pub(super) fn finish(mut self, closing: Range<usize>) {
        self.flush();
        let closing = if self.is_first {
            closing.end - 1..closing.end
        } else {
            closing
        };
        self.out.extend_from_slice(&self.text.as_bytes()[closing]);
    }

    fn separate(&mut self) {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
    }

    fn flush(&mut self) {
        if let Some(run) = self.run.take() {
            self.out.extend_from_slice(&self.text.as_bytes()[run]);
        }
    }
}

/// From behind the last child of an array or object to behind its closing bracket; the bracket alone where it is empty.
pub(super) fn closing(container: Node<'_>) -> Range<usize> {
    let end = container.word().end();
    let start = if container.is_empty() {
        end - 1
    } else {
        space_before(container.text(), end - 1)
    };
    start..end
}

/// Where the white space before `at` starts; `at` stands between two tokens.
fn space_before(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].trim_ascii_end().len()
}
