//! `.pt` and `.pth` files: between them and the other formats, and forged ones.

use crate::support::{floats, stored};

/// The pickle of one float32 tensor over storage "0" of `count` elements, given what follows its
/// storage: offset, sizes and strides.
fn tensor(count: u8, place: &[u8]) -> Vec<u8> {
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n(("[..],
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        &[b'K', count, b't', b'Q'],
        place,
        b"\x89ccollections\nOrderedDict\n)RtR",
    ]
    .concat()
}

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// Offset 0, shape (2, 3), row-major.
const PLAIN: &[u8] = b"K\0K\x02K\x03\x86K\x03K\x01\x86";

fn file_of(pickle: &[u8], elements: &[u8]) -> Vec<u8> {
    let pickle = [&b"\x80\x02"[..], pickle, b"."].concat();
    stored(&[
        ("archive/data.pkl", &pickle),
        ("archive/byteorder", b"little"),
        ("archive/data/0", elements),
        ("archive/version", b"3\n"),
    ])
}

pub(crate) fn valid() -> Vec<u8> {
    file_of(&tensor(6, PLAIN), &floats(6))
}

/// A tensor "w" beside a number "epoch".
#[cfg(feature = "pt")]
pub(crate) fn dictionary_with_a_number() -> Vec<u8> {
    let entries = [&text("epoch")[..], b"K\x03", &text("w"), &tensor(6, PLAIN)].concat();
    file_of(&[&b"}("[..], &entries, b"u"].concat(), &floats(6))
}

#[cfg(feature = "pt")]
mod with_the_feature {
    use std::process::Command;

    use super::*;
    use crate::python::python;
    use crate::support::{Folder, counting, deflated, noise, npy};

    crate::support::cases! {
        a_tensor_without_a_name_stays_without,
        every_element_type_that_numpy_has_comes_back,
        a_strided_tensor_is_read_where_it_lies,
        forged_files_are_refused_and_leave_nothing,
        a_pickle_of_a_million_nested_values_does_not_exhaust_the_stack,
        #[cfg(target_os = "linux")]
        a_small_pickle_cannot_ask_for_much_memory,
        a_storage_with_a_broken_checksum_is_refused,
        python_reads_what_was_written,
        what_python_wrote_is_read,
    }

    fn a_tensor_without_a_name_stays_without() {
        let folder = Folder::new();
        folder.file("a.pt", valid());
        folder.succeed(&["convert", "a.pt", "b.npy"]);
        assert_eq!(folder.read("b.npy"), counting(2, 3));
        folder.succeed(&["convert", "b.npy", "c.pt"]);
        folder.succeed(&["convert", "c.pt", "d.npy"]);
        assert_eq!(folder.read("d.npy"), counting(2, 3));
    }

    fn every_element_type_that_numpy_has_comes_back() {
        let types = [
            ("'|b1'", 1),
            ("'|i1'", 1),
            ("'<i2'", 2),
            ("'<i4'", 4),
            ("'<i8'", 8),
            ("'|u1'", 1),
            ("'<u2'", 2),
            ("'<u4'", 4),
            ("'<u8'", 8),
            ("'<f2'", 2),
            ("'<f4'", 4),
            ("'<f8'", 8),
            ("'<c8'", 8),
            ("'<c16'", 16),
        ];
        let folder = Folder::new();
        let mut members = Vec::new();
        for (descr, size) in types {
            for (shape, count) in [("()", 1), ("(0, 3)", 0), ("(2, 150)", 300)] {
                let mut elements = noise(count * size);
                if descr == "'|b1'" {
                    elements.iter_mut().for_each(|byte| *byte &= 1);
                }
                let name = format!("{} {shape}.npy", descr.trim_matches('\''));
                members.push((name, npy(descr, false, shape, &elements)));
            }
        }
        let members: Vec<_> = members.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
        folder.file("a.npz", stored(&members));
        folder.succeed(&["convert", "a.npz", "b.pth", "--memory-limit", "64"]);
        folder.succeed(&["convert", "b.pth", "c.npz"]);
        folder.succeed(&["convert", "a.npz", "wanted.npz"]);
        assert!(folder.read("c.npz") == folder.read("wanted.npz"));
    }

    fn a_strided_tensor_is_read_where_it_lies() {
        let folder = Folder::new();
        // Offset 1, shape (2, 2), strides (1, 2): a transposed view into six floats.
        let place = b"K\x01K\x02K\x02\x86K\x01K\x02\x86";
        folder.file("a.pt", file_of(&tensor(6, place), &floats(6)));
        folder.succeed(&["convert", "a.pt", "b.safetensors"]);
        folder.succeed(&["convert", "b.safetensors", "c.npy"]);
        let wanted: Vec<u8> =
            [1_f32, 3.0, 2.0, 4.0].into_iter().flat_map(f32::to_le_bytes).collect();
        assert_eq!(folder.read("c.npy"), npy("'<f4'", false, "(2, 2)", &wanted));
    }

    fn forged_files_are_refused_and_leave_nothing() {
        let with = |place: &[u8]| file_of(&tensor(6, place), &floats(6));
        let pickle = |pickle: &[u8]| file_of(pickle, &floats(6));
        let entry = |value: &[u8]| pickle(&[b"}".as_slice(), &text("x"), value, b"s"].concat());
        let plain = tensor(6, PLAIN);
        let twice = [b"}(", &text("x")[..], &plain, &text("x"), &plain, b"u"].concat();
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("code", pickle(b"cposix\nsystem\nX\x02\0\0\0id\x85R"), "posix.system"),
            ("a getattr", pickle(b"cbuiltins\ngetattr\n)R"), "builtins.getattr"),
            (
                "beyond its storage",
                with(b"K\x01K\x02K\x03\x86K\x03K\x01\x86"),
                "outside its storage",
            ),
            ("before its storage", with(b"K\0K\x02K\x03\x86J\xff\xff\xff\xffK\x01\x86"), "outside"),
            ("a negative extent", with(b"K\0J\xff\xff\xff\xffK\x03\x86K\x03K\x01\x86"), "negative"),
            (
                "elements that cannot be counted",
                with(b"K\0\x8a\x08\0\0\0\0\0\0\0\x40K\x08\x86K\0K\0\x86"),
                "address space",
            ),
            ("an odd rank", with(b"K\0K\x02\x85K\x03K\x01\x86"), "2 strides"),
            ("a longer storage", file_of(&tensor(7, PLAIN), &floats(6)), "28 bytes, and has 24"),
            ("a storage that is not there", stored(&[("a/data.pkl", &pickled(&plain))]), "data/0"),
            ("no pickle", stored(&[("a/data/0", b"")]), "no data.pkl"),
            ("compressed", deflated(&[("a/data.pkl", &pickled(&plain))]), "compressed"),
            ("no zip", b"a text".to_vec(), "not a readable zip archive"),
            ("a number", entry(b"K\x03"), "no tensors: it is a dictionary"),
            ("a dictionary in it", entry(b"}"), "no tensors: it is a dictionary"),
            ("two of one name", pickle(&twice), "two tensors are named \"x\""),
            ("neither", pickle(b"K\x03"), "no tensors: it is a number"),
            ("another operation", pickle(b"i"), "operation 0x69"),
            ("an underrun", pickle(b"R"), "nothing to work on"),
            ("a mark that is not there", pickle(b"t"), "no beginning"),
            ("a memo that is not there", pickle(b"h\x07"), "not made"),
            ("a text without an end", pickle(b"X\xff\xff\xff\x7fa"), "middle of an operation"),
            ("another protocol", stored(&[("a/data.pkl", b"\x80\x06N.")]), "protocol 6"),
            ("an entry of a list", pickle(b"NN]s"), "no dictionary"),
            ("an entry of a number", pickle(b"K\x01NNs"), "no dictionary"),
            ("an item of a number", pickle(b"K\x01Na"), "no list"),
            ("the state of a number", pickle(b"K\x01Nb"), "the state of a value that has none"),
            ("a call of a class", pickle(b"c__builtin__\nlist\n)R"), "other arguments"),
        ];
        let folder = Folder::new();
        for (what, bytes, says) in cases {
            folder.file("a.pt", bytes);
            folder.fail(1, &["convert", "a.pt", "b.npz"], &["convert a.pt to b.npz", says]);
            assert_eq!(folder.names(), ["a.pt"], "{what}");
        }
    }

    fn pickled(pickle: &[u8]) -> Vec<u8> {
        [b"\x80\x02", pickle, b"."].concat()
    }

    fn a_pickle_of_a_million_nested_values_does_not_exhaust_the_stack() {
        let folder = Folder::new();
        let deep = [b"N".as_slice(), &[0x85].repeat(1_000_000)].concat();
        folder.file("a.pt", file_of(&deep, b""));
        folder.fail(1, &["convert", "a.pt", "b.npz"], &["no tensors: it is a tuple"]);
        // With a tensor in it, its name would be as long.
        let deep = [tensor(6, PLAIN), [0x85].repeat(1_000_000)].concat();
        folder.file("a.pt", file_of(&deep, &floats(6)));
        folder.succeed(&["convert", "a.pt", "b.safetensors"]);
    }

    /// Runs the program with a gigabyte for all that it writes to; it must fail and say this.
    #[cfg(target_os = "linux")]
    #[track_caller]
    fn fail_in_a_gigabyte(what: &str, pickle: &[u8], says: &str) {
        let folder = Folder::new();
        folder.file("a.pt", file_of(pickle, &floats(6)));
        let script =
            format!("ulimit -d 1048576; exec '{}' convert a.pt b.npz", crate::support::PROGRAM);
        let mut shell = Command::new("bash");
        let output = shell.args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        let ran = crate::support::Ran::of(output);
        assert_eq!(ran.code, Some(1), "{what}: {ran:?}");
        assert!(ran.stderr.contains(says), "{what}: {}", ran.stderr);
        assert_eq!(folder.names(), ["a.pt"], "{what}");
    }

    #[cfg(target_os = "linux")]
    fn a_small_pickle_cannot_ask_for_much_memory() {
        const MANY: usize = 40 << 20;
        let full = "more values than there is room for";
        // Each byte asks for a value, a collection or both; each pair for a dictionary in a tuple.
        let repeated =
            [("tuples", &b")"[..]), ("values", b"N"), ("marks", b"("), ("pairs", b"}\x85")];
        for (what, operation) in repeated {
            fail_in_a_gigabyte(what, &operation.repeat(MANY / operation.len()), full);
        }
        // Each six bytes remember a value at another place.
        let places = (0..MANY as u32 / 6).flat_map(|place| {
            let [a, b, c, d] = place.to_le_bytes();
            [b'r', a, b, c, d]
        });
        fail_in_a_gigabyte("places", &[vec![b'N'], places.collect()].concat(), full);
        // One tensor of the highest rank, under as many names as there is room for.
        let axes = [&[b'('][..], &[b'K', 1].repeat(64), b"t"].concat();
        let one = tensor(6, &[b"K\0", &axes[..], &axes].concat());
        let names =
            (0..1_u32 << 19).flat_map(|name| [&text(&name.to_string())[..], b"h\0s"].concat());
        let pickle = [&one[..], b"q\0}", &names.collect::<Vec<_>>()].concat();
        fail_in_a_gigabyte("names", &pickle, full);
        // One long key, at each of many levels.
        let levels = 2000;
        let first = [b"}", &text(&"k".repeat(1 << 20))[..], b"q\0"].concat();
        let parts = [first, b"}h\0".repeat(levels), tensor(6, PLAIN), b"s".repeat(levels + 1)];
        fail_in_a_gigabyte("a long key", &parts.concat(), full);
        let large = b"N".repeat((64 << 20) + 1);
        fail_in_a_gigabyte("a large pickle", &large, "only describes tensors");
    }

    fn a_storage_with_a_broken_checksum_is_refused() {
        let folder = Folder::new();
        let mut bytes = valid();
        let elements = floats(6);
        let at = bytes.windows(24).position(|window| window == elements).unwrap();
        bytes[at + 5] ^= 1;
        folder.file("a.pt", bytes);
        folder.fail(1, &["convert", "a.pt", "b.npy"], &["checksum"]);
    }

    fn python_reads_what_was_written() {
        let folder = Folder::new();
        folder.file("x.npy", counting(2, 3));
        let unsigned = npy("'<u2'", false, "(300,)", &noise(600));
        folder
            .file("y.npz", stored(&[("layer.weight.npy", &counting(3, 4)), ("u.npy", &unsigned)]));
        let via: &[&str] = if cfg!(feature = "torch") { &["--via", "torch"] } else { &[] };
        for (from, to) in [("x.npy", "x.pt"), ("y.npz", "y.pth")] {
            folder.succeed(&[&["convert", from, to], via].concat());
        }
        python(
            &folder,
            r#"
x = torch.load("x.pt", weights_only=True)
assert torch.equal(x, torch.arange(6.).reshape(2, 3)), x
y = torch.load("y.pth", weights_only=True, mmap=True)
arrays = numpy.load("y.npz")
assert sorted(y) == ["layer.weight", "u"], y
for name, tensor in y.items():
    assert tensor.dtype == torch.from_numpy(arrays[name]).dtype
    assert numpy.array_equal(tensor.numpy(), arrays[name]), name
model = nn.Linear(4, 3, bias=False)
model.load_state_dict({"weight": y["layer.weight"]})
"#,
        );
    }

    fn what_python_wrote_is_read() {
        let folder = Folder::new();
        let written = python(
            &folder,
            r#"
model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
torch.save(model.state_dict(), "model.pt")
numpy.savez("model_wanted.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
kept = torch.arange(24, dtype=torch.int32).view(2, 3, 4)
views = {"permuted": kept.permute(2, 0, 1), "sliced": kept[:, 1:, ::2], "scalar": kept[1, 2, 3],
         "expanded": kept[0, 0, :1].expand(5), "unsigned": kept.to(torch.uint16).view(6, 4).t(),
         "empty": torch.zeros(0, 3), "parameter": nn.Parameter(torch.ones(2))}
torch.save(views, "views.pth")
numpy.savez("views_wanted.npz", **{k: v.detach().numpy() for k, v in views.items()})
torch.save({"a": torch.ones(3).to(torch.float8_e4m3fn), "b": torch.ones(3).to(torch.bfloat16)}, "small.pt")
class Evil:
    def __reduce__(self):
        import os
        return os.system, ("touch pwned",)
torch.save({"a": Evil()}, "evil.pt")
torch.save(nn.Linear(2, 2), "module.pt")
torch.save(torch.ones(2, dtype=torch.complex64).conj(), "conj.pt")
"#,
        );
        if !written {
            return;
        }
        for (from, to) in [("model.pt", "model.npz"), ("views.pth", "views.npz")] {
            folder.succeed(&["convert", from, to]);
        }
        folder.succeed(&["convert", "small.pt", "small.safetensors"]);
        let refused = [
            ("evil.pt", "posix.system"),
            ("module.pt", "torch.nn.modules.linear.Linear"),
            ("conj.pt", "resolve_conj"),
        ];
        for (file, says) in refused {
            folder.fail(1, &["convert", file, "out.npz"], &[says]);
        }
        assert!(!folder.path().join("pwned").exists());
        python(
            &folder,
            r#"
for name in ["model", "views"]:
    made, wanted = numpy.load(name + ".npz"), numpy.load(name + "_wanted.npz")
    assert sorted(made) == sorted(wanted), (sorted(made), sorted(wanted))
    for key in wanted:
        assert made[key].dtype == wanted[key].dtype, key
        assert numpy.array_equal(made[key], wanted[key]), key
"#,
        );
    }
}
