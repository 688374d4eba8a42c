//! Files that the program writes are read by libtorch too, and the other way round.

use bridge_cli::{Console, Output};
use tch::nn::{Module, VarStore};
use tch::{Device, Kind, Tensor, nn};

/// Runs the program, which must succeed.
fn arraybridge(args: &[&str]) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let console = Console::new(Output::plain(&mut stdout), Output::plain(&mut stderr));
    let exit = bridge_cli::run_on([&["arraybridge"], args].concat(), console);
    assert_eq!(exit.code(), 0, "{}", String::from_utf8_lossy(&stderr));
}

/// A small model in a store of its own.
fn model() -> (VarStore, nn::Sequential) {
    let store = VarStore::new(Device::Cpu);
    let root = store.root();
    let layers = nn::seq()
        .add(nn::linear(&root / "first", 3, 4, nn::LinearConfig::default()))
        .add(nn::linear(&root / "second", 4, 2, nn::LinearConfig::default()));
    (store, layers)
}

#[test]
fn a_dictionary_of_tensors_is_one_for_libtorch() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (weights, written) = (path("weights.safetensors"), path("weights.pt"));
    let header = r#"{"bias":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"layer.weight":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(7_i64.to_le_bytes());
    [1.5_f32, -2.0].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    std::fs::write(&weights, bytes).unwrap();
    arraybridge(&["convert", &weights, &written]);

    let mut tensors = Tensor::loadz_multi(&written).unwrap();
    tensors.sort_by(|one, other| one.0.cmp(&other.0));
    let [(bias, seven), (weight, two)] = &tensors[..] else { panic!("{tensors:?}") };
    assert_eq!((&**bias, &**weight), ("bias", "layer.weight"));
    assert_eq!((seven.kind(), seven.int64_value(&[0])), (Kind::Int64, 7));
    assert_eq!((two.size(), two.double_value(&[1, 0])), (vec![2, 1], -2.0));
}

/// libtorch saves an archive as its programs are; another model gets its weights through our formats.
#[test]
fn what_a_variable_store_saves_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (saved, plain, written) = (path("model.ot"), path("model.safetensors"), path("model.pt"));
    let (store, layers) = model();
    store.save(&saved).unwrap();
    let input = Tensor::from_slice(&[1_f32, -2.0, 3.0]);
    let wanted = layers.forward(&input);
    arraybridge(&["convert", &saved, &plain]);
    arraybridge(&["convert", &plain, &written]);
    for file in [&plain, &written] {
        let (mut store, layers) = model();
        assert_ne!(layers.forward(&input), wanted, "its own weights are random");
        store.load(file).unwrap();
        assert_eq!(layers.forward(&input), wanted, "{file}");
    }
    let names = |file| {
        let mut names: Vec<String> =
            Tensor::read_safetensors(file).unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    };
    assert_eq!(names(&plain), ["first.bias", "first.weight", "second.bias", "second.weight"]);
    // One tensor, as `torch::save` of C++ writes it.
    let (alone, back) = (path("alone.pt"), path("alone.safetensors"));
    wanted.save(&alone).unwrap();
    arraybridge(&["convert", &alone, &back]);
    assert_eq!(names(&back), ["0"]);
    let [(_, tensor)] = &Tensor::read_safetensors(&back).unwrap()[..] else { panic!("one") };
    assert_eq!(*tensor, wanted);
}
