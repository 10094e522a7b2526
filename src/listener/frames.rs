//! Follows the frames of one HTTP/2 connection by their heads alone, and says two things that the HTTP machinery behind
//! it does not: whether a header section has begun that is not whole, and how much came that is no request. It keeps no
//! bytes but a frame's head that a read has cut.

use crate::limits::{HTTP2_FRAMES_BETWEEN_REQUESTS, HTTP2_WINDOW_UPDATE_BYTES};

/// What every connection of HTTP/2 opens with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

#[derive(Debug)]
pub(super) struct Frames {
    /// Bytes of the preface that have not come.
    preface_left: usize,
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    payload_left: usize,
    /// A header section has begun whose last byte has not come.
    is_in_section: bool,
    /// Header sections that have come whole, wrapping.
    sections: u32,
    /// Frames since the last of them that carry neither a section nor data.
    others: u32,
    /// Bytes that were written and for which no window was opened yet.
    unopened_bytes: u64,
}

impl Frames {
    pub(super) fn new() -> Frames {
        Frames {
            preface_left: PREFACE.len(),
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            payload_left: 0,
            is_in_section: false,
            sections: 0,
            others: 0,
            unopened_bytes: 0,
        }
    }

    /// Header sections that have come whole, wrapping.
    pub(super) fn sections(&self) -> u32 {
        self.sections
    }

    pub(super) fn is_in_section(&self) -> bool {
        self.is_in_section
    }

    /// More came than any client has to say between two requests.
    pub(super) fn is_flood(&self) -> bool {
        self.others > HTTP2_FRAMES_BETWEEN_REQUESTS
    }

    /// So many bytes went to the peer: it has to open its windows for them again.
    pub(super) fn written(&mut self, bytes: usize) {
        self.unopened_bytes = self.unopened_bytes.saturating_add(bytes as u64);
    }

    /// Follows the next bytes of the connection, from its preface on.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        let skipped = self.preface_left.min(bytes.len());
        self.preface_left -= skipped;
        bytes = bytes.get(skipped..).unwrap_or_default();
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let passed = self.payload_left.min(bytes.len());
                bytes = bytes.get(passed..).unwrap_or_default();
                self.payload_left -= passed;
                if self.payload_left == 0 {
                    self.end();
                }
                continue;
            }
            let wanted = (HEAD_BYTES - self.head_bytes).min(bytes.len());
            let (part, rest) = bytes.split_at(wanted);
            if let Some(room) = self.head.get_mut(self.head_bytes..self.head_bytes + wanted) {
                room.copy_from_slice(part);
            }
            self.head_bytes += wanted;
            bytes = rest;
            if self.head_bytes == HEAD_BYTES {
                self.head_bytes = 0;
                self.begin();
            }
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.payload_left = u32::from_be_bytes([0, high, middle, low]) as usize;
        match kind {
            HEADERS | CONTINUATION => self.is_in_section = true,
            DATA if self.payload_left > 0 || flags & END_STREAM != 0 => {}
            WINDOW_UPDATE if self.unopened_bytes >= HTTP2_WINDOW_UPDATE_BYTES => {
                self.unopened_bytes -= HTTP2_WINDOW_UPDATE_BYTES;
            }
            _ => self.others = self.others.saturating_add(1),
        }
        if self.payload_left == 0 {
            self.end();
        }
    }

    fn end(&mut self) {
        let [_, _, _, kind, flags, ..] = self.head;
        if matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 {
            self.is_in_section = false;
            self.sections = self.sections.wrapping_add(1);
            self.others = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload_bytes: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, payload_bytes, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![0xff; payload_bytes.into()]);
        frame
    }

    #[test]
    fn sections_are_told_from_what_is_around_them_however_reads_cut_them() {
        let whole = [
            PREFACE.to_vec(),
            frame(4, 0, 6),
            frame(HEADERS, END_STREAM, 20),
            frame(CONTINUATION, 0, 0),
            frame(CONTINUATION, END_HEADERS, 3),
            frame(DATA, 0, 40),
            frame(HEADERS, END_HEADERS, 0),
        ]
        .concat();
        for size in 1..whole.len() {
            let mut frames = Frames::new();
            for piece in whole.chunks(size) {
                frames.feed(piece);
            }
            assert_eq!((frames.sections(), frames.is_in_section()), (2, false), "{size}");
        }
        let mut frames = Frames::new();
        frames.feed(&whole[..PREFACE.len() + 15 + 8]);
        assert!(!frames.is_in_section(), "its head is not whole");
        frames.feed(&whole[PREFACE.len() + 15 + 8..PREFACE.len() + 15 + 9]);
        assert!(frames.is_in_section());
        frames.feed(&frame(4, 0, 250));
        assert_eq!(frames.sections(), 0, "what is in a payload is no frame");
    }

    #[test]
    fn what_is_no_request_is_counted_until_one_comes() {
        let mut frames = Frames::new();
        frames.feed(PREFACE);
        for _ in 0..HTTP2_FRAMES_BETWEEN_REQUESTS {
            frames.feed(&frame(6, 0, 8));
            frames.feed(&frame(DATA, 0, 1));
            frames.feed(&frame(DATA, END_STREAM, 0));
        }
        assert!(!frames.is_flood());
        frames.feed(&frame(DATA, 0, 0));
        assert!(frames.is_flood(), "data without a byte counts as well");
        frames.feed(&frame(HEADERS, END_HEADERS, 6));
        assert!(!frames.is_flood());
    }

    #[test]
    fn windows_may_be_opened_for_what_was_written_and_no_more() {
        const ANSWER_KIB: usize = 4096;
        let mut frames = Frames::new();
        frames.feed(PREFACE);
        frames.feed(&frame(HEADERS, END_STREAM | END_HEADERS, 6));
        // All of it before the peer reads.
        frames.written(ANSWER_KIB << 10);
        let window = frame(WINDOW_UPDATE, 0, 4);
        for _ in 0..ANSWER_KIB + HTTP2_FRAMES_BETWEEN_REQUESTS as usize {
            frames.feed(&window);
        }
        assert!(!frames.is_flood());
        frames.feed(&window);
        assert!(frames.is_flood());
        let mut frames = Frames::new();
        frames.feed(PREFACE);
        frames.written(ANSWER_KIB << 10);
        for _ in 0..=HTTP2_FRAMES_BETWEEN_REQUESTS {
            frames.feed(&frame(6, 0, 8));
        }
        assert!(frames.is_flood(), "what was written is no leave for pings");
    }
}
