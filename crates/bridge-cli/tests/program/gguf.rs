//! `.gguf` files, built here byte by byte: what llama.cpp's kin write is read, and what is damaged or
//! forged is refused.

use crate::support::{Folder, cases, counting, floats, npy};

cases! {
    plain_arrays_come_and_go,
    #[cfg(feature = "candle")]
    quantised_arrays_are_read_as_float32,
    #[cfg(feature = "candle")]
    large_quantised_arrays_are_read_in_windows,
    #[cfg(not(feature = "candle"))]
    quantised_arrays_are_refused_without_candle,
    metadata_goes_into_a_safetensors_file,
    what_a_header_claims_is_not_believed,
    what_the_format_cannot_hold_is_refused,
    other_kinds_of_blocks_do_not_block_the_rest,
}

/// A number of ggml's, dimensions with the densest first, and the bytes of the elements.
type Array<'a> = (&'a str, u32, &'a [u64], Vec<u8>);

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A file of version 3: metadata as its bytes, and arrays.
fn gguf(metadata: &[Vec<u8>], arrays: &[Array<'_>]) -> Vec<u8> {
    let mut file = b"GGUF\x03\0\0\0".to_vec();
    file.extend((arrays.len() as u64).to_le_bytes());
    file.extend((metadata.len() as u64).to_le_bytes());
    file.extend(metadata.concat());
    let mut elements = Vec::new();
    for (name, number, dimensions, bytes) in arrays {
        file.extend(text(name));
        file.extend((dimensions.len() as u32).to_le_bytes());
        file.extend(dimensions.iter().flat_map(|dimension| dimension.to_le_bytes()));
        file.extend(number.to_le_bytes());
        file.extend((elements.len() as u64).to_le_bytes());
        elements.extend(bytes);
        elements.resize(elements.len().next_multiple_of(32), 0);
    }
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend(elements);
    file
}

/// A block of some bytes, with scales at these places.
fn block(size: usize, scales: &[(usize, f32)]) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..size).map(|at| ((at * 37 + 11) % 251) as u8).collect();
    for &(at, scale) in scales {
        // Powers of two between 1/32 and 1 as float16: the exponent alone.
        let exponent = (15 + scale.abs().log2() as i16) as u16;
        let sign = u16::from(scale < 0.0) << 15;
        bytes[at..at + 2].copy_from_slice(&(sign | exponent << 10).to_le_bytes());
    }
    bytes
}

#[cfg(feature = "candle")]
fn numbers(npy: &[u8]) -> Vec<f32> {
    let header = usize::from(u16::from_le_bytes([npy[8], npy[9]])) + 10;
    npy[header..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

fn plain_arrays_come_and_go() {
    let folder = Folder::new();
    folder.file("a.npy", counting(3, 5));
    folder.succeed(&["convert", "a.npy", "a.gguf"]);
    let written = folder.read("a.gguf");
    assert_eq!(&written[..8], b"GGUF\x03\0\0\0");
    folder.succeed(&["convert", "a.gguf", "b.npy"]);
    assert_eq!(folder.read("a.npy"), folder.read("b.npy"));
    let ids: Vec<u8> = (0..7_i64).flat_map(i64::to_le_bytes).collect();
    let file = gguf(&[], &[("w", 0, &[5, 3], floats(15)), ("ids", 27, &[7], ids)]);
    folder.file("two.gguf", file);
    folder.succeed(&["convert", "two.gguf", "two.npz"]);
    folder.succeed(&["convert", "two.npz", "w.npy", "--name", "w"]);
    assert_eq!(folder.read("w.npy"), folder.read("a.npy"));
    folder.succeed(&["convert", "two.npz", "again.gguf"]);
    folder.succeed(&["diff", "two.gguf", "again.gguf"]);
    folder.succeed(&["convert", "a.npy", "half.gguf", "--dtype", "bfloat16"]);
    assert!(folder.succeed(&["info", "half.gguf"]).stdout.contains("bfloat16"));
}

#[cfg(not(feature = "candle"))]
fn quantised_arrays_are_refused_without_candle() {
    let folder = Folder::new();
    let rows = block(34, &[(0, 0.5)]);
    let file = gguf(&[], &[("q", 8, &[32], rows), ("w", 0, &[2], floats(2))]);
    folder.file("q.gguf", file);
    folder.fail(1, &["convert", "q.gguf", "q.npz"], &["\"q\"", "Q8_0", "--features candle"]);
    folder.succeed(&["convert", "q.gguf", "q.npz", "--skip-unsupported"]);
}

/// The numbers are what `gguf.quants.dequantize` of the Python package gguf 0.19 gives for the same bytes.
#[cfg(feature = "candle")]
fn quantised_arrays_are_read_as_float32() {
    /// The type's number, bytes of a block, where its scales are, and its elements at 0, 1, 17, 31, in the
    /// middle and at the end, and their sum.
    type Known = (u32, usize, &'static [(usize, f32)], [f32; 6], f64);
    const KNOWN: [Known; 10] = [
        (8, 34, &[(0, 0.5)], [42.5, 61.0, -22.0, -14.0, -40.5, -14.0], -48.5),
        (2, 18, &[(0, 0.25)], [-0.75, 0.5, -0.25, 0.0, -0.75, 0.0], -5.25),
        (12, 144, &[(0, 0.125), (2, 0.0625)], [15.875, 35.25, 12.0, 12.0, 10.25, -2.25], 6791.5),
        (14, 210, &[(208, 0.03125)], [-13.59375, 43.5, -23.25, -23.25, -31.0, 72.5], -327.53125),
        (3, 20, &[(0, 0.5), (2, -1.0)], [6.5, 1.0, 5.0, 5.5, 3.5, 5.5], 93.0),
        (6, 22, &[(0, 0.5)], [4.5, -6.5, 0.5, 1.0, 7.0, 1.0], 7.5),
        (7, 24, &[(0, 0.5), (2, -1.0)], [11.0, 13.5, 1.5, 2.0, 8.5, 2.0], 225.5),
        (10, 84, &[(80, 0.5), (82, 0.25)], [5.5, 11.0, -0.75, -0.75, 7.25, -1.0], 892.0),
        (11, 110, &[(108, 0.5)], [1.5, -2.0, -11.0, -11.0, 26.0, 0.0], 53.5),
        (
            13,
            176,
            &[(0, 0.125), (2, 0.0625)],
            [112.75, 8.125, 46.875, 46.875, 59.75, -2.25],
            14_937.625,
        ),
    ];
    let folder = Folder::new();
    for (number, size, scales, some, sum) in KNOWN {
        let elements: u64 = if size < 40 { 32 } else { 256 };
        let rows = block(size, scales).repeat(3);
        folder.file("q.gguf", gguf(&[], &[("q", number, &[elements, 3], rows)]));
        folder.succeed(&["convert", "q.gguf", "q.npy"]);
        let found = numbers(&folder.read("q.npy"));
        let elements = elements as usize;
        assert_eq!(found.len(), 3 * elements, "{number}");
        for row in found.chunks_exact(elements) {
            let places = [0, 1, 17, 31, elements / 2, elements - 1];
            assert_eq!(places.map(|place| row[place]), some, "{number}");
            assert_eq!(row.iter().copied().map(f64::from).sum::<f64>(), sum, "{number}");
        }
    }
}

/// Also where a window ends within a block, which has room for 12 elements only.
#[cfg(feature = "candle")]
fn large_quantised_arrays_are_read_in_windows() {
    let folder = Folder::new();
    let rows = block(34, &[(0, 0.5)]).repeat(4000);
    folder.file("q.gguf", gguf(&[], &[("q", 8, &[32, 4000], rows)]));
    folder.succeed(&["convert", "q.gguf", "whole.npy"]);
    folder.succeed(&["convert", "q.gguf", "parts.npy", "--memory-limit", "100"]);
    let plan = folder.succeed(&["plan", "q.gguf"]).stdout;
    assert!(plan.contains("dequantize Q8_0") && plan.contains("copied"), "{plan}");
    let bits = ["convert", "q.gguf", "x.npy", "--as", "int32"];
    folder.fail(2, &bits, &["quantised as Q8_0", "--as changes no bytes", "--dtype"]);
    let never = ["convert", "q.gguf", "x.npy", "--copy", "never"];
    folder.fail(1, &never, &["copies are forbidden", "quantised as Q8_0"]);
    assert!(folder.succeed(&["info", "q.gguf"]).stdout.contains("float32 (Q8_0)"));
    let whole = folder.read("whole.npy");
    assert_eq!(whole, folder.read("parts.npy"));
    let found = numbers(&whole);
    assert_eq!((found.len(), found[1], found[127_969]), (128_000, 61.0, 61.0));
}

fn metadata_goes_into_a_safetensors_file() {
    let mut words = text("tokenizer.ggml.tokens");
    words.extend(9_u32.to_le_bytes());
    words.extend(8_u32.to_le_bytes());
    words.extend(2_u64.to_le_bytes());
    words.extend([text("<s>"), text("</s>")].concat());
    let named = [text("general.name"), 8_u32.to_le_bytes().to_vec(), text("tiny")].concat();
    let layers = [text("layers"), 5_u32.to_le_bytes().to_vec(), (-2_i32).to_le_bytes().to_vec()];
    let metadata = [words, named, layers.concat()];
    let folder = Folder::new();
    folder.file("m.gguf", gguf(&metadata, &[("w", 0, &[2], floats(2))]));
    let ran = folder.succeed(&["convert", "m.gguf", "m.safetensors"]);
    let list = "passed over, as they are no arrays: \"tokenizer.ggml.tokens\" (a list of metadata)";
    assert!(ran.stdout.contains(list) && !ran.stdout.contains("no .safetensors"), "{ran:?}");
    // Other formats have no place for the rest either, which is said.
    for target in ["m.npz", "again.gguf"] {
        let ran = folder.succeed(&["convert", "m.gguf", target]);
        let (_, extension) = target.split_once('.').unwrap();
        let says = format!("which no .{extension} file keeps: \"general.name\", \"layers\"");
        assert!(ran.stdout.contains(&says), "{ran:?}");
    }
    let written = String::from_utf8_lossy(&folder.read("m.safetensors")).into_owned();
    assert!(written.contains(r#""general.name":"tiny""#), "{written}");
    assert!(written.contains(r#""layers":"-2""#), "{written}");
}

fn what_a_header_claims_is_not_believed() {
    let folder = Folder::new();
    let good = gguf(&[], &[("w", 0, &[5, 3], floats(15))]);
    let refuses = |bytes: &[u8], says: &[&str]| {
        folder.file("x.gguf", bytes);
        folder.fail(1, &["convert", "x.gguf", "x.npz"], says);
    };
    for cut in [3, 7, 15, 30, 45, good.len() - 33] {
        refuses(&good[..cut], &["do: "]);
    }
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    refuses(&with(4, &[1]), &["GGUF version 1", "versions 2 and 3"]);
    refuses(&with(4, &[0, 0, 0, 3]), &["big-endian"]);
    refuses(&with(8, &u64::MAX.to_le_bytes()), &["the file ends within"]);
    refuses(&with(16, &u64::MAX.to_le_bytes()), &["values of metadata", "no room"]);
    refuses(&with(24, &u64::MAX.to_le_bytes()), &["an array's name"]);
    refuses(&with(33, &[5]), &["5 axes", "at most four"]);
    refuses(&with(37, &u64::MAX.to_le_bytes()), &["\"w\""]);
    let twice = gguf(&[], &[("w", 0, &[2], floats(2)), ("w", 0, &[2], floats(2))]);
    refuses(&twice, &["\"w\"", "twice"]);
    let mut overlapping = gguf(&[], &[("a", 0, &[16], floats(16)), ("b", 0, &[16], floats(16))]);
    let offset = overlapping.windows(8).rposition(|eight| eight == 64_u64.to_le_bytes()).unwrap();
    overlapping[offset..offset + 8].copy_from_slice(&32_u64.to_le_bytes());
    refuses(&overlapping, &["\"a\" and \"b\" overlap"]);
    let odd = gguf(&[], &[("q", 8, &[33], block(34, &[]))]);
    refuses(&odd, &["rows of 33 elements in blocks of 32"]);
    let nested = [text("key"), 9_u32.to_le_bytes().to_vec(), 9_u32.to_le_bytes().to_vec()].concat();
    refuses(&gguf(&[[nested, vec![0; 8]].concat()], &[]), &["\"key\"", "type 9"]);
    refuses(b"not a model, but some text", &["GGUF"]);
}

fn what_the_format_cannot_hold_is_refused() {
    let folder = Folder::new();
    folder.file("five.npy", npy("'<f4'", false, "(1, 1, 1, 1, 2)", &floats(2)));
    folder.fail(1, &["convert", "five.npy", "x.gguf"], &["5 axes", "at most four", "reshape"]);
    folder.file("u8.npy", npy("'|u1'", false, "(2,)", &[1, 2]));
    folder.fail(1, &["convert", "u8.npy", "x.gguf"], &["uint8", "--dtype int16"]);
    folder.file("w.npy", counting(1, 1));
    folder.succeed(&["convert", "w.npy", "w.npz"]);
    let name = "a".repeat(64);
    folder.file(&format!("{name}.npy"), counting(1, 1));
    folder.fail(1, &["convert", &format!("{name}.npy"), "x.gguf"], &["63 bytes"]);
}

fn other_kinds_of_blocks_do_not_block_the_rest() {
    let folder = Folder::new();
    let file = gguf(&[], &[("new", 23, &[256], vec![0; 136]), ("w", 0, &[2], floats(2))]);
    folder.file("m.gguf", file);
    folder.fail(1, &["convert", "m.gguf", "m.npz"], &["\"new\"", "IQ4_XS", "llama-quantize"]);
    folder.succeed(&["convert", "m.gguf", "m.npz", "--skip-unsupported"]);
    assert!(folder.succeed(&["info", "m.gguf"]).stdout.contains("IQ4_XS"));
}
