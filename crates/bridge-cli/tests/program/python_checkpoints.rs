//! Checkpoints that PyTorch itself wrote are read, and the lines of Python that errors advise do what they
//! say.

use crate::pickles::{Pickled, dict, legacy_file, old_tensor};
use crate::python::python;
use crate::remedies::remedy;
use crate::support::{Folder, floats, npy, replaced, stored};

crate::support::cases! {
    what_python_saves_is_read_and_the_advised_lines_work,
    lines_advised_for_tensors_of_odd_kinds_and_old_files_work,
}

/// Writes a checkpoint in every form, and beside it the arrays that are wanted.
const TRAINING: &str = r#"
import collections, random, pickle
torch.manual_seed(1)
model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
# As an optimizer gives it: to import one takes longer than all else here.
optimizer = {"state": {at: {"step": torch.tensor(3.), "exp_avg": torch.randn_like(p), "exp_avg_sq": p.detach() ** 2}
                       for at, p in enumerate(model.parameters())},
             "param_groups": [{"lr": numpy.float64(0.01), "betas": (0.9, 0.999), "amsgrad": False, "foreach": None,
                               "params": list(range(6))}]}
checkpoint = {
    "epoch": 3, "seed": 2**80, "model_state_dict": model.state_dict(),
    "optimizer_state_dict": optimizer, "scheduler": {"last_epoch": 3, "_last_lr": [numpy.float64(0.1)]},
    "rng": torch.get_rng_state(), "python_rng": random.getstate(), "loss": numpy.float32(1.5),
    "best": float("inf"), "names": {"a", "b"}, "frozen": frozenset([1]), "z": 1j, "bytes": b"xyz",
    "array_of": bytearray(b"x"), "size": torch.Size([2, 3]), "device": torch.device("cuda:0"),
    "dtype": torch.bfloat16, "none": None, "flag": True, "steps": range(3), "empty": b"",
    "counter": collections.Counter("aab"), "default": collections.defaultdict(list, {"q": [torch.ones(1)]}),
    "queue": collections.deque([torch.zeros(2)], maxlen=3),
    "parameter": nn.Parameter(torch.ones(2)), "small": torch.ones(3, dtype=torch.uint16),
    "shared": [torch.arange(6.)[1:4], (torch.eye(2).t(), "x")],
}
parameter = nn.Parameter(torch.ones(2))
parameter.tag = "kept"
checkpoint["tagged"] = parameter
def flat(value, name=""):
    if torch.is_tensor(value):
        yield name, value.detach().numpy()
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple, collections.deque)):
        for key, inner in enumerate(value):
            yield from flat(inner, f"{name}.{key}" if name else str(key))
numpy.savez("wanted.npz", **dict(flat(checkpoint)))
torch.save(checkpoint, "now.ckpt")
torch.save(checkpoint, "legacy.pth", _use_new_zipfile_serialization=False)
for protocol in [3, 4, 5]:
    torch.save(checkpoint, f"protocol{protocol}.pt", pickle_protocol=protocol)
    torch.save(checkpoint, f"legacy{protocol}.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=False)
script = torch.jit.script(model)
script.save("script.pt")
numpy.savez("script_wanted.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
torch.jit.freeze(script.eval()).save("frozen.pt")
torch.save([torch.ones(2), torch.zeros(1)], "list.pt")
with open("model.safetensors.index.json", "w") as index:
    import json
    from pathlib import Path
    names = list(model.state_dict())
    for part in range(2):
        torch.save({k: model.state_dict()[k] for k in names[part::2]}, f"part{part}.bin")
    json.dump({"weight_map": {k: f"part{at % 2}.bin" for at, k in enumerate(names)}}, index)
"#;

/// Compares what was made of each file.
const COMPARED: &str = r#"
def same(made, wanted):
    made, wanted = numpy.load(made), numpy.load(wanted)
    assert sorted(made) == sorted(wanted), set(made.files) ^ set(wanted.files)
    for key in wanted:
        assert made[key].dtype == wanted[key].dtype and made[key].shape == wanted[key].shape, key
        assert numpy.array_equal(made[key], wanted[key]), key
for name in ["now", "legacy", "protocol3", "protocol4", "protocol5", "legacy3", "legacy4", "legacy5"]:
    same(name + ".npz", "wanted.npz")
for name in ["script", "shards", "part"]:
    same(name + ".npz", "script_wanted.npz")
assert sorted(numpy.load("list.npz")) == ["0", "1"]
"#;

const ODD: &str = r#"
import pickle, warnings
warnings.simplefilter("ignore")
eye = torch.eye(3)
torch.save({"epoch": 1, "model": {"x": eye.to_sparse(), "y": torch.ones(2)}}, "sparse.pt")
torch.save(eye.to_sparse_csr(), "csr.pt")
torch.save(torch.quantize_per_tensor(eye, 0.5, 1, torch.qint8), "quantised.pt")
torch.save({"x": torch.quantize_per_tensor(eye, 0.5, 1, torch.quint8), "y": torch.ones(2)}, "quantised2.pt",
           _use_new_zipfile_serialization=False)
torch.save([torch.full((2,), 1 + 2j).conj()], "conjugated.pt")
torch.save({"x": torch.empty(2, device="meta")}, "meta.pt")
torch.save({"x": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, "nested.pt")
torch.save({"x": numpy.arange(6.), "lr": 0.1}, "numpy2.pt")
torch.save({"x": numpy.arange(6.), "lr": 0.1}, "numpy4.pt", pickle_protocol=4)
torch.save({"x": numpy.arange(6.), "lr": 0.1}, "numpy5.pt", pickle_protocol=5)
torch.save({"x": numpy.arange(6.), "lr": 0.1}, "numpy_before.pt", _use_new_zipfile_serialization=False)
numpy.random.seed(7)
torch.save({"rng": numpy.random.get_state(), "bytes": numpy.arange(256, dtype=numpy.uint8).reshape(16, 16).T,
            "big": numpy.arange(5, dtype=">i2"), "x": torch.ones(2)}, "numpy_all.pt")
numpy.savez("numpy_wanted.npz", **{"rng.1": numpy.random.get_state()[1], "x": numpy.ones(2, "f4"),
            "bytes": numpy.arange(256, dtype=numpy.uint8).reshape(16, 16).T, "big": numpy.arange(5, dtype="i2")})
torch.save({"x": numpy.array([1.5, 2.5], numpy.longdouble), "lr": 0.1}, "numpy.pt")
torch.save(nn.Linear(2, 3), "module.pt")
pickle.dump({"x": torch.ones(2)}, open("pickle.pkl", "wb"))
torch.save(torch.ones(3).untyped_storage(), "storage.pt")
"#;

fn what_python_saves_is_read_and_the_advised_lines_work() {
    let folder = Folder::new();
    if !python(&folder, &format!("{TRAINING}{ODD}")) {
        return;
    }
    convert_checkpoints(&folder);
    let before = folder.contents();
    let advised = advised_lines(&folder);
    assert!(python(&folder, &format!("{COMPARED}{advised}")));
    let after = folder.contents();
    for (file, bytes) in before {
        assert!(after[&file] == bytes, "{file} has changed");
    }
    let floats =
        |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let eye = npy("'<f4'", false, "(3, 3)", &floats(&[1., 0., 0., 0., 1., 0., 0., 0., 1.]));
    let ones = npy("'<f4'", false, "(2,)", &floats(&[1., 1.]));
    let complex = npy("'<c8'", false, "(2,)", &floats(&[1., -2., 1., -2.]));
    let six: Vec<u8> = (0..6).flat_map(|number| f64::from(number).to_le_bytes()).collect();
    let halves: Vec<u8> = [1.5_f64, 2.5].iter().flat_map(|number| number.to_le_bytes()).collect();
    let cases = [
        ("sparse.pt", "model.x", &eye),
        ("sparse.pt", "model.y", &ones),
        ("csr.pt", "whole", &eye),
        ("quantised.pt", "whole", &eye),
        ("quantised2.pt", "x", &eye),
        ("quantised2.pt", "y", &ones),
        ("conjugated.pt", "0", &complex),
        ("numpy.pt", "x", &npy("'<f8'", false, "(2,)", &halves)),
        ("pickle.pkl", "x", &ones),
    ];
    for file in ["numpy2.pt", "numpy4.pt", "numpy5.pt", "numpy_before.pt"] {
        folder.succeed(&["convert", file, "one.npy", "--name", "x"]);
        assert!(folder.read("one.npy") == npy("'<f8'", false, "(6,)", &six), "{file}");
    }
    folder.succeed(&["convert", "numpy_all.pt", "all.npz"]);
    folder.succeed(&["diff", "all.npz", "numpy_wanted.npz"]);
    for (file, name, wanted) in cases {
        let file = format!("{file}.new");
        folder.succeed(&["convert", &file, "one.npy", "--name", name]);
        assert!(folder.read("one.npy") == *wanted, "{file} {name}");
    }
    folder.succeed(&["convert", "module.pt.new", "one.npy", "--name", "weight"]);
}

fn convert_checkpoints(folder: &Folder) {
    let converted = [
        ("now.ckpt", "now.npz"),
        ("legacy.pth", "legacy.npz"),
        ("protocol3.pt", "protocol3.npz"),
        ("protocol4.pt", "protocol4.npz"),
        ("protocol5.pt", "protocol5.npz"),
        ("legacy3.pt", "legacy3.npz"),
        ("legacy4.pt", "legacy4.npz"),
        ("legacy5.pt", "legacy5.npz"),
        ("script.pt", "script.npz"),
        ("list.pt", "list.npz"),
        ("model.safetensors.index.json", "shards.npz"),
    ];
    for (from, to) in converted {
        folder.succeed(&["convert", from, to]);
    }
    folder.succeed(&["convert", "now.ckpt", "part.npz", "--key", "model_state_dict"]);
    for (file, says) in [
        ("frozen.pt", "before it is frozen"),
        ("meta.pt", "without values"),
        ("nested.pt", "a nested tensor"),
        ("storage.pt", "a storage"),
        ("numpy.pt", "\"x\": an array of NumPy"),
    ] {
        folder.fail(1, &["convert", file, "out.npz"], &[says]);
    }
}

/// The lines that errors advise, each for its file, and what moves away what they write.
fn advised_lines(folder: &Folder) -> String {
    let mut script = "import pickle\n".to_owned();
    let cases = [
        ("sparse.pt", "\"model.x\": a sparse tensor"),
        ("csr.pt", "a sparse tensor"),
        ("quantised.pt", "a quantised tensor"),
        ("quantised2.pt", "\"x\": a quantised tensor"),
        ("conjugated.pt", "\"0\": a tensor that is conjugated"),
        ("module.pt", "torch.nn.modules.linear.Linear"),
        ("pickle.pkl", "a pickle of Python"),
    ];
    for (file, says) in cases {
        let said = folder.run(&["convert", file, "out.npz"]).stderr;
        assert!(said.contains(says), "{file}: {said}");
        let (_, line) = said.split_once("in Python: ").expect("a line of Python");
        // What else can be done follows.
        let line = line.split("; or ").next().unwrap_or(line);
        let (_, written) = line.trim().rsplit_once(", \"").expect("a file to write");
        let written = written.trim_end_matches("\")");
        script += &format!("path = \"{file}\"\n{}\n", line.trim());
        script += &format!("import os; os.rename(\"{written}\", \"{file}.new\")\n");
    }
    let said = folder.run(&["convert", "numpy.pt", "out.npz"]).stderr;
    let (_, tensor) = said.split_once("save tensors: ").expect("an expression of Python");
    let tensor = tensor.split("; or ").next().unwrap_or(tensor).trim();
    script += "array = torch.load(\"numpy.pt\", weights_only=False)[\"x\"]\n";
    script + &format!("torch.save({{\"x\": {tensor}}}, \"numpy.pt.new\")\n")
}

/// Files whose lines speak of what the user has: a tensor, a model, a program.
const OF_ONES_OWN: &str = r#"
import warnings
warnings.simplefilter("ignore")
torch.save(torch.nested.nested_tensor([torch.ones(2), torch.zeros(1)]), "nested.pt")
torch.save(torch.arange(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2), "float4.pt")
torch.save(torch.arange(4, dtype=torch.int16).view(torch.bits16), "bits.pt")
torch.save(3, "number.pt")
script = torch.jit.script(nn.Linear(3, 2))
torch.jit.freeze(script.eval()).save("frozen.pt")
"#;

fn lines_advised_for_tensors_of_odd_kinds_and_old_files_work() {
    let folder = Folder::new();
    if !python(&folder, OF_ONES_OWN) {
        return;
    }
    let swapped: Vec<u8> = [0_f32, 1.].into_iter().flat_map(f32::to_be_bytes).collect();
    let value = dict(&[("x", Pickled::Tensor("0", 2))]);
    let members: [(&str, &[u8]); 4] = [
        ("a/data.pkl", &value.pickle()),
        ("a/byteorder", b"big"),
        ("a/data/0", &swapped),
        ("a/version", b"3\n"),
    ];
    folder.file("big.pt", stored(&members));
    // Before PyTorch 1.6 a file said so of the machine, and its elements were little-endian.
    let before = legacy_file(&dict(&[("x", old_tensor("0", 2, 2))]), &[("0", 2, &floats(2))]);
    folder.file("big_before.pt", replaced(&before, b"little_endian\x88", b"little_endian\x89"));
    let part = dict(&[("x", old_tensor("0", 4, 2))]);
    folder.file("part.pt", legacy_file(&part, &[("0", 4, &floats(4))]));

    // Each with what the line is of and what comes before it, and the file that it writes, if it does.
    let load = "tensor = torch.load(path)";
    let cases = [
        ("nested.pt", "save its parts: ", load, "parts.pt"),
        ("float4.pt", "save its bytes: ", load, ""),
        ("bits.pt", "save its bytes: ", load, ""),
        ("number.pt", "save only the tensors: ", "model = nn.Linear(3, 2)", "weights.pt"),
        ("big.pt", "in Python on this machine: ", "", "little_endian.pt"),
        ("big_before.pt", "in Python on this machine: ", "", "little_endian.pt"),
        ("part.pt", "in Python: ", "", "new.pt"),
    ];
    let mut script = "import os\n".to_owned();
    for (file, before, given, written) in cases {
        let said = remedy(&folder, &["plan", file]);
        let (_, line) = said.split_once(before).unwrap_or_else(|| panic!("{file}: {said}"));
        let line = line.split("; or ").next().unwrap_or(line);
        let run = match written {
            "" => format!("torch.save({line}, path + '.new')"),
            written => format!("{line}\nos.rename('{written}', path + '.new')"),
        };
        script += &format!("path = '{file}'\n{given}\n{run}\n");
    }
    assert!(remedy(&folder, &["plan", "frozen.pt"]).contains("its state_dict(), before it is"));
    script += "torch.save(torch.jit.script(nn.Linear(3, 2)).state_dict(), 'frozen.pt.new')\n";
    python(&folder, &script);

    let bytes: Vec<u8> = (0..4_u16).flat_map(u16::to_le_bytes).collect();
    let wanted = [
        ("nested.pt", "0", npy("'<f4'", false, "(2,)", &[1_f32.to_le_bytes(); 2].concat())),
        ("nested.pt", "1", npy("'<f4'", false, "(1,)", &[0; 4])),
        ("float4.pt", "whole", npy("'|u1'", false, "(4,)", &[0, 1, 2, 3])),
        ("bits.pt", "whole", npy("'|u1'", false, "(8,)", &bytes)),
        ("big.pt", "x", npy("'<f4'", false, "(2,)", &floats(2))),
        ("big_before.pt", "x", npy("'<f4'", false, "(2,)", &floats(2))),
        ("part.pt", "x", npy("'<f4'", false, "(2,)", &floats(4)[8..])),
    ];
    for (file, name, array) in wanted {
        let file = format!("{file}.new");
        folder.succeed(&["convert", &file, "one.npy", "--name", name]);
        assert!(folder.read("one.npy") == array, "{file} {name}");
    }
    for file in ["number.pt.new", "frozen.pt.new"] {
        folder.succeed(&["convert", file, "one.npy", "--name", "weight"]);
    }
}
