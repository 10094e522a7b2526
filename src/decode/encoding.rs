//! Content encodings. What comes out is capped while it comes; nothing is allocated because a body says how large it
//! is. A window that a body asks for is bounded by its format (brotli, 16 MiB) or by us (zstd), and one body at a time
//! is decompressed on a thread.

use std::{
    cell::RefCell,
    io::{self, Read},
};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status, bufread::MultiGzDecoder};
use http::{HeaderMap, header};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use crate::{
    limits::{
        BROTLI_WINDOW_BYTES_FREE, ByteSize, COMPRESSED_EVENTS_FREE, DECOMPRESSED_BYTES_FREE,
        DECOMPRESSION_RATIO, ZSTD_WINDOW_LOG_MAX,
    },
    problem::{Code, Problem},
};

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The one encoding that a request's headers name.
pub(super) fn of(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut found = Encoding::Identity;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for name in value.as_bytes().split(|byte| *byte == b',') {
            let encoding = match name.trim_ascii().to_ascii_lowercase().as_slice() {
                b"" | b"identity" => continue,
                b"gzip" | b"x-gzip" => Encoding::Gzip,
                b"deflate" => Encoding::Deflate,
                b"br" => Encoding::Brotli,
                b"zstd" => Encoding::Zstd,
                _ => return Err(unknown("this Content-Encoding is not known")),
            };
            if found != Encoding::Identity {
                return Err(unknown("the body is compressed more than once"));
            }
            found = encoding;
        }
    }
    Ok(found)
}

fn unknown(what: &str) -> Problem {
    Problem::new(
        Code::ContentEncodingUnknown,
        format!("{what}; send gzip, deflate, br, zstd or none, one layer of it"),
    )
}

fn malformed(name: &str) -> Problem {
    Problem::new(
        Code::BodyMalformed,
        format!(
            "the body is no whole {name} stream, as its Content-Encoding says; compress it again and send all of it"
        ),
    )
}

fn too_large(limit: ByteSize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("a body holds at most {limit} after decompression; send fewer events at once"),
    )
}

/// How many events a body of so many bytes as sent may hold, whatever the operator allows: what costs the sender next to
/// nothing is worth little work.
pub(super) fn events_max(encoding: Encoding, sent_bytes: usize) -> u32 {
    match encoding {
        Encoding::Identity => u32::MAX,
        _ => u32::try_from(sent_bytes.max(COMPRESSED_EVENTS_FREE)).unwrap_or(u32::MAX),
    }
}

/// The body as it was before it was compressed, at most `limit` of it, and in proportion to what was sent.
pub(super) fn decompress(encoding: Encoding, body: Bytes, limit: ByteSize) -> Result<Bytes, Problem> {
    if body.is_empty() || encoding == Encoding::Identity {
        return Ok(body);
    }
    let by_ratio = (body.len() as u64)
        .saturating_mul(DECOMPRESSION_RATIO)
        .max(DECOMPRESSED_BYTES_FREE);
    if encoding == Encoding::Brotli {
        check_brotli_window(&body, by_ratio.min(limit.0))?;
    }
    if by_ratio >= limit.0 {
        return undo(encoding, body, limit);
    }
    undo(encoding, body, ByteSize(by_ratio)).map_err(|problem| match problem.code {
        Code::BodyTooLarge => Problem::new(
            Code::BodyTooLarge,
            format!(
                "a body becomes at most {DECOMPRESSION_RATIO} times larger by decompression, or {}; send less of the same \
                 at once, or less compressed",
                ByteSize(DECOMPRESSED_BYTES_FREE)
            ),
        ),
        _ => problem,
    })
}

fn undo(encoding: Encoding, body: Bytes, limit: ByteSize) -> Result<Bytes, Problem> {
    let plain = match encoding {
        Encoding::Identity => return Ok(body),
        Encoding::Gzip => gunzip(&body, limit)?,
        // "deflate" means zlib; some senders leave zlib's frame out.
        Encoding::Deflate => inflate(&body, limit)?,
        Encoding::Brotli => unpack_brotli(&body, limit)?,
        Encoding::Zstd => unpack_zstd(&body, limit)?,
    };
    Ok(plain.into())
}

fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 0x0f == 8
        && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31))
}

/// Room to begin with; more is taken only as bytes come out.
fn first_capacity(compressed: usize, limit: ByteSize) -> usize {
    compressed
        .saturating_mul(4)
        .clamp(1024, 64 << 10)
        .min(limit.as_usize().saturating_add(1))
}

/// A buffer that grows as bytes come out, to one more than the limit: that one says that there is more.
struct Plain {
    bytes: Vec<u8>,
    written: usize,
    limit: ByteSize,
}

impl Plain {
    fn new(compressed: usize, limit: ByteSize) -> Plain {
        Plain {
            bytes: vec![0; first_capacity(compressed, limit)],
            written: 0,
            limit,
        }
    }

    fn make_room(&mut self) -> Result<(), Problem> {
        if self.written as u64 > self.limit.0 {
            return Err(too_large(self.limit));
        }
        if self.written == self.bytes.len() {
            let most = self.limit.as_usize().saturating_add(1);
            self.bytes.resize(self.written.saturating_mul(2).min(most), 0);
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.written == self.bytes.len()
    }

    fn finish(mut self) -> Result<Vec<u8>, Problem> {
        if self.written as u64 > self.limit.0 {
            return Err(too_large(self.limit));
        }
        self.bytes.truncate(self.written);
        Ok(self.bytes)
    }
}

fn gunzip(body: &[u8], limit: ByteSize) -> Result<Vec<u8>, Problem> {
    let mut plain = Vec::with_capacity(first_capacity(body.len(), limit));
    MultiGzDecoder::new(body)
        .take(limit.0.saturating_add(1))
        .read_to_end(&mut plain)
        .map_err(|_| malformed("gzip"))?;
    if plain.len() as u64 > limit.0 {
        return Err(too_large(limit));
    }
    Ok(plain)
}

/// "deflate" means zlib; some senders leave zlib's frame out.
fn inflate(body: &[u8], limit: ByteSize) -> Result<Vec<u8>, Problem> {
    let mut decoder = Decompress::new(is_zlib(body));
    let mut plain = Plain::new(body.len(), limit);
    let mut rest = body;
    loop {
        plain.make_room()?;
        let room = plain.bytes.get_mut(plain.written..).unwrap_or_default();
        let (read_before, written_before) = (decoder.total_in(), decoder.total_out());
        let status = decoder
            .decompress(rest, room, FlushDecompress::None)
            .map_err(|_| malformed("deflate"))?;
        let read = usize::try_from(decoder.total_in() - read_before).unwrap_or(usize::MAX);
        let written = usize::try_from(decoder.total_out() - written_before).unwrap_or(usize::MAX);
        rest = rest.get(read..).unwrap_or_default();
        plain.written += written;
        match status {
            Status::StreamEnd if rest.is_empty() => return plain.finish(),
            Status::StreamEnd => return Err(malformed("deflate")),
            _ if rest.is_empty() && !plain.is_full() => return Err(malformed("deflate")),
            _ if read == 0 && written == 0 && !plain.is_full() => return Err(malformed("deflate")),
            _ => {}
        }
    }
}

/// As much as a window holds is unpacked before the first of it comes out: it is bounded by what may come out, or by what
/// encoders take where nobody says how much.
fn check_brotli_window(body: &[u8], most: u64) -> Result<(), Problem> {
    let first = u32::from(body.first().copied().unwrap_or_default());
    // RFC 7932, section 9.1.
    let window_log = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, bits) => 8 + bits,
        (_, bits, _) => 17 + bits,
    };
    if 1 << window_log <= most.max(BROTLI_WINDOW_BYTES_FREE) {
        return Ok(());
    }
    Err(Problem::new(
        Code::BodyTooLarge,
        format!(
            "the br stream asks for a window of {}; compress it with one of {} (--lgwin=22), or less of it at once",
            ByteSize(1 << window_log),
            ByteSize(BROTLI_WINDOW_BYTES_FREE)
        ),
    ))
}

fn unpack_brotli(body: &[u8], limit: ByteSize) -> Result<Vec<u8>, Problem> {
    // Strict: RFC 7932's windows alone, which end at 16 MiB; the larger ones are no HTTP coding.
    let mut state = BrotliState::new_strict(
        StandardAlloc::default(),
        StandardAlloc::default(),
        StandardAlloc::default(),
    );
    let mut plain = Plain::new(body.len(), limit);
    let (mut unread, mut read, mut total) = (body.len(), 0, 0);
    loop {
        plain.make_room()?;
        let mut room = plain.bytes.len() - plain.written;
        let result = BrotliDecompressStream(
            &mut unread,
            &mut read,
            body,
            &mut room,
            &mut plain.written,
            &mut plain.bytes,
            &mut total,
            &mut state,
        );
        match result {
            BrotliResult::ResultSuccess if unread == 0 => return plain.finish(),
            BrotliResult::NeedsMoreOutput if plain.is_full() => {}
            BrotliResult::ResultSuccess
            | BrotliResult::NeedsMoreOutput
            | BrotliResult::NeedsMoreInput
            | BrotliResult::ResultFailure => return Err(malformed("br")),
        }
    }
}

thread_local! {
    /// A context is 100 KB and more to make; it holds nothing of a body past [`Decoder::reinit`].
    static ZSTD: RefCell<Option<Decoder<'static>>> = const { RefCell::new(None) };
}

fn unpack_zstd(body: &[u8], limit: ByteSize) -> Result<Vec<u8>, Problem> {
    ZSTD.with_borrow_mut(|kept| {
        let decoder = match kept {
            Some(decoder) => decoder.reinit().map(|()| decoder),
            None => new_zstd().map(|decoder| kept.insert(decoder)),
        };
        let decoder =
            decoder.map_err(|_| Problem::new(Code::Internal, "the decompressor could not be set up"))?;
        run_zstd(decoder, body, limit)
    })
}

fn new_zstd() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
    Ok(decoder)
}

fn run_zstd(decoder: &mut Decoder<'static>, body: &[u8], limit: ByteSize) -> Result<Vec<u8>, Problem> {
    let mut plain = Plain::new(body.len(), limit);
    let mut input = InBuffer::around(body);
    loop {
        plain.make_room()?;
        let mut output = OutBuffer::around_pos(plain.bytes.as_mut_slice(), plain.written);
        // Of concatenated frames, each begins where the one before has ended.
        let expected = decoder
            .run(&mut input, &mut output)
            .map_err(|_| malformed("zstd"))?;
        plain.written = output.pos();
        if input.pos() == body.len() {
            if expected == 0 {
                return plain.finish();
            }
            if !plain.is_full() {
                return Err(malformed("zstd"));
            }
        }
    }
}
