//! Files that the program writes are read by libtorch too.

use bridge_cli::{Console, Output};
use tch::{Kind, Tensor};

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
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let console = Console::new(Output::plain(&mut stdout), Output::plain(&mut stderr));
    let exit = bridge_cli::run_on(["arraybridge", "convert", &weights, &written], console);
    assert_eq!(exit.code(), 0, "{}", String::from_utf8_lossy(&stderr));

    let mut tensors = Tensor::loadz_multi(&written).unwrap();
    tensors.sort_by(|one, other| one.0.cmp(&other.0));
    let [(bias, seven), (weight, two)] = &tensors[..] else { panic!("{tensors:?}") };
    assert_eq!((&**bias, &**weight), ("bias", "layer.weight"));
    assert_eq!((seven.kind(), seven.int64_value(&[0])), (Kind::Int64, 7));
    assert_eq!((two.size(), two.double_value(&[1, 0])), (vec![2, 1], -2.0));
}
