//! The four codecs of Kafka's record batches, over whole blocks of records.
//!
//! Decompressing is bounded: no input, however small, makes it hold more than the caller's limit of output, and the
//! output grows only as fast as it is filled.

use std::io::{self, Read, Write};

use super::header::Compression;

/// Most bytes that the records of one compressed batch may have when decompressed: 128 MiB.
///
/// Kafka has no such limit. Producers fill batches by their uncompressed size (Java's `batch.size`, 16 KiB, at most
/// `max.request.size`, 1 MiB), so what is above was made to hurt.
pub const DECOMPRESSED_BYTES_MAX: usize = 128 << 20;

/// The largest window that zstd's own highest level asks for; it is also what the decoder may allocate for one.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Input bytes of one block in the xerial framing, as snappy-java chooses by default.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// Starts the xerial framing: a magic, then a version and the oldest compatible version, both 1.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// The part of [`XERIAL_HEADER`] that tells it from a raw block.
const XERIAL_MAGIC_LEN: usize = 8;
/// A snappy block makes at most 64 bytes of 3, so a length of more than this many times its bytes is a lie.
const SNAPPY_RATIO_MAX: usize = 32;
const LZ4_MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// Flags of an lz4 frame: blocks stand alone; then what is there besides the blocks.
const LZ4_BLOCKS_INDEPENDENT: u8 = 0x20;
const LZ4_BLOCK_CHECKSUMS: u8 = 0x10;
const LZ4_CONTENT_SIZE: u8 = 0x08;
const LZ4_CONTENT_CHECKSUM: u8 = 0x04;
const LZ4_DICTIONARY: u8 = 0x01;
/// Marks a block of an lz4 frame that is not compressed; the other bits are its length.
const LZ4_BLOCK_UNCOMPRESSED: u32 = 1 << 31;

const _: () = assert!(1 << ZSTD_WINDOW_LOG_MAX <= DECOMPRESSED_BYTES_MAX);

/// Why a block of compressed records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// The block holds more than the limit.
    #[error("the compressed records have more than {bytes_max} bytes when decompressed")]
    TooLarge {
        /// The limit, bytes.
        bytes_max: usize,
    },
    /// The block is not what its codec writes.
    #[error("the records are not valid {codec:?}: {source}")]
    Malformed {
        /// The codec that the batch names.
        codec: Compression,
        /// What the codec found.
        source: io::Error,
    },
}

/// Compresses a block of records, each codec at its default level and as Kafka's Java client frames it.
///
/// # Errors
/// What a codec reports; out of memory in practice.
pub fn compress(codec: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
    match codec {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Snappy => compress_xerial(bytes),
        Compression::Lz4 => {
            // Java's reader takes no blocks that depend on earlier ones.
            let frame = lz4_flex::frame::FrameInfo::new()
                .block_size(lz4_flex::frame::BlockSize::Max64KB)
                .block_mode(lz4_flex::frame::BlockMode::Independent);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
            encoder.write_all(bytes)?;
            Ok(encoder.finish()?)
        }
        Compression::Zstd => zstd::stream::encode_all(bytes, zstd::DEFAULT_COMPRESSION_LEVEL),
    }
}

fn compress_xerial(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = XERIAL_HEADER.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in bytes.chunks(XERIAL_BLOCK_BYTES) {
        let compressed = encoder.compress_vec(block)?;
        out.extend_from_slice(&(compressed.len() as u32).to_be_bytes());
        out.extend_from_slice(&compressed);
    }
    Ok(out)
}

/// Decompresses a block of records of at most `bytes_max` bytes.
///
/// # Errors
/// [`DecompressError`]; an lz4 frame with linked blocks is malformed too, since Kafka's own reader refuses it.
pub fn decompress(codec: Compression, bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let result = match codec {
        Compression::None if bytes.len() > bytes_max => Ok(None),
        Compression::None => Ok(Some(bytes.to_vec())),
        Compression::Gzip => read_bounded(flate2::bufread::MultiGzDecoder::new(bytes), bytes.len(), bytes_max),
        Compression::Snappy => decompress_snappy(bytes, bytes_max),
        Compression::Lz4 => decompress_lz4(bytes, bytes_max),
        Compression::Zstd => decompress_zstd(bytes, bytes_max),
    };
    match result {
        Ok(Some(out)) => Ok(out),
        Ok(None) => Err(DecompressError::TooLarge { bytes_max }),
        Err(source) => Err(DecompressError::Malformed { codec, source }),
    }
}

fn decompress_lz4(bytes: &[u8], bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    check_lz4_frame(bytes).map_err(malformed)?;
    read_bounded(lz4_flex::frame::FrameDecoder::new(bytes), bytes.len(), bytes_max)
}

/// Whether `bytes` are exactly one lz4 frame of the kind that Kafka's reader takes.
///
/// lz4_flex 0.14 takes the end of its input for the end of the frame, so a frame that was cut short between two blocks
/// would pass for whole.
fn check_lz4_frame(bytes: &[u8]) -> Result<(), &'static str> {
    const CUT: &str = "the lz4 frame is cut short";
    const CHECKSUM_LEN: usize = 4;
    let rest = bytes.strip_prefix(&LZ4_MAGIC).ok_or("there is no lz4 frame")?;
    let flags = *rest.first().ok_or(CUT)?;
    if flags & LZ4_BLOCKS_INDEPENDENT == 0 {
        return Err("the lz4 frame's blocks are linked, which Kafka does not read");
    }
    let when = |flag: u8, len: usize| if flags & flag == 0 { 0 } else { len };
    // Flags, block size and header checksum are always there.
    let mut rest = rest.get(3 + when(LZ4_CONTENT_SIZE, 8) + when(LZ4_DICTIONARY, 4)..).ok_or(CUT)?;
    loop {
        let (word, behind) = rest.split_first_chunk().ok_or(CUT)?;
        let word = u32::from_le_bytes(*word);
        if word == 0 {
            return match behind.len().checked_sub(when(LZ4_CONTENT_CHECKSUM, CHECKSUM_LEN)) {
                Some(0) => Ok(()),
                Some(_) => Err("bytes follow the lz4 frame"),
                None => Err(CUT),
            };
        }
        let length = (word & !LZ4_BLOCK_UNCOMPRESSED) as usize;
        rest = behind.get(length + when(LZ4_BLOCK_CHECKSUMS, CHECKSUM_LEN)..).ok_or(CUT)?;
    }
}

fn decompress_zstd(bytes: &[u8], bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    read_bounded(decoder, bytes.len(), bytes_max)
}

/// Reads to the end; `None` when that is behind `bytes_max`.
fn read_bounded(mut reader: impl Read, compressed_len: usize, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    const FIRST_BYTES_MIN: usize = 4 << 10;
    let mut out = Vec::new();
    loop {
        let room = bytes_max - out.len();
        if room == 0 {
            return if reader.read(&mut [0])? == 0 { Ok(Some(out)) } else { Ok(None) };
        }
        // Doubles what is there, so that memory follows what was really decompressed.
        let step = out.len().max(compressed_len.saturating_mul(2)).max(FIRST_BYTES_MIN).min(room);
        out.reserve_exact(step);
        if reader.by_ref().take(step as u64).read_to_end(&mut out)? < step {
            return Ok(Some(out));
        }
    }
}

fn decompress_snappy(bytes: &[u8], bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    if !bytes.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_LEN]) {
        return Ok(append_snappy_block(bytes, &mut out, bytes_max)?.then_some(out));
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        // Streams may be joined end to end: a header in place of a length starts the next one.
        if rest.starts_with(&XERIAL_HEADER[..XERIAL_MAGIC_LEN]) {
            rest = rest.get(XERIAL_HEADER.len()..).ok_or_else(|| malformed("the snappy header is cut short"))?;
            continue;
        }
        let (length, behind) = rest.split_first_chunk().ok_or_else(|| malformed("a snappy block is cut short"))?;
        let (block, behind) = behind
            .split_at_checked(u32::from_be_bytes(*length) as usize)
            .ok_or_else(|| malformed("a snappy block is cut short"))?;
        if !append_snappy_block(block, &mut out, bytes_max)? {
            return Ok(None);
        }
        rest = behind;
    }
    Ok(Some(out))
}

/// Decompresses one raw block to the end of `out`; `false` when that would be behind `bytes_max`.
fn append_snappy_block(block: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> io::Result<bool> {
    let length = snap::raw::decompress_len(block)?;
    if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(malformed("a snappy block claims more bytes than it can hold"));
    }
    let start = out.len();
    if length > bytes_max - start {
        return Ok(false);
    }
    out.resize(start + length, 0);
    let written = snap::raw::Decoder::new().decompress(block, &mut out[start..])?;
    out.truncate(start + written);
    Ok(true)
}

fn malformed(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    #[test]
    fn snappy_is_read_in_both_framings_and_written_as_java_does() {
        // What snappy-java writes for "foobar\n".
        let xerial = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x09\x07\x18foobar\n";
        assert_eq!(compress(Compression::Snappy, b"foobar\n").unwrap(), xerial);
        assert_eq!(decompress(Compression::Snappy, xerial, 100).unwrap(), b"foobar\n");
        assert_eq!(decompress(Compression::Snappy, &xerial[20..], 100).unwrap(), b"foobar\n");
        let joined = [&xerial[..], &xerial[..]].concat();
        assert_eq!(decompress(Compression::Snappy, &joined, 100).unwrap(), b"foobar\nfoobar\n");
        let blocks = compress(Compression::Snappy, &[7; XERIAL_BLOCK_BYTES * 2 + 1]).unwrap();
        assert_eq!(decompress(Compression::Snappy, &blocks, 1 << 20).unwrap(), [7; XERIAL_BLOCK_BYTES * 2 + 1]);
    }

    #[test]
    fn the_limit_is_exact_and_bombs_stop_at_it() {
        let zeros = vec![0; 3 << 20];
        for codec in CODECS {
            let compressed = compress(codec, &zeros).unwrap();
            assert_eq!(decompress(codec, &compressed, zeros.len()).unwrap(), zeros);
            for bytes_max in [0, 1, 5000, 1 << 20, zeros.len() - 1] {
                let error = decompress(codec, &compressed, bytes_max).unwrap_err();
                assert!(matches!(error, DecompressError::TooLarge { .. }), "{codec:?} {bytes_max}: {error}");
            }
        }
        // Six bytes that claim 4 GiB.
        let error = decompress(Compression::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0], usize::MAX).unwrap_err();
        assert!(matches!(error, DecompressError::Malformed { .. }));
    }

    #[test]
    fn what_is_cut_short_is_malformed() {
        let text: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
        for codec in &CODECS[1..] {
            let compressed = compress(*codec, &text).unwrap();
            for len in [compressed.len() / 2, compressed.len() - 1] {
                let Err(error) = decompress(*codec, &compressed[..len], 1 << 20) else {
                    panic!("{codec:?} took {len} bytes")
                };
                assert!(matches!(error, DecompressError::Malformed { .. }), "{codec:?} {len}: {error}");
            }
        }
    }

    #[test]
    fn linked_lz4_blocks_are_refused_as_kafka_refuses_them() {
        let frame = lz4_flex::frame::FrameInfo::new().block_mode(lz4_flex::frame::BlockMode::Linked);
        let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
        encoder.write_all(b"text").unwrap();
        let linked = encoder.finish().unwrap();
        assert!(matches!(decompress(Compression::Lz4, &linked, 100), Err(DecompressError::Malformed { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_codec_gives_back_what_it_was_given(
            seed in prop::collection::vec(any::<u8>(), 0..500),
            times in 0usize..300,
        ) {
            let bytes = seed.repeat(times);
            for codec in CODECS {
                let compressed = compress(codec, &bytes).unwrap();
                prop_assert_eq!(&decompress(codec, &compressed, bytes.len()).unwrap(), &bytes);
            }
        }

        #[test]
        fn hostile_bytes_never_panic_and_never_pass_the_limit(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            at in any::<prop::sample::Index>(),
            noise in any::<u8>(),
        ) {
            for codec in CODECS {
                let mut compressed = compress(codec, &bytes).unwrap();
                if !compressed.is_empty() {
                    let at = at.index(compressed.len());
                    compressed[at] ^= noise;
                }
                for input in [&bytes, &compressed] {
                    if let Ok(out) = decompress(codec, input, 1000) {
                        prop_assert!(out.len() <= 1000);
                    }
                }
            }
        }
    }
}
