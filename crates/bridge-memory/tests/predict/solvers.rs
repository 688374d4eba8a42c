use bridge_core::{DataType, Error, TensorError};
use bridge_memory::predict::{CostModel, LeastSquares, Padded, SafetyFactor, Solver};
use proptest::prelude::*;

const SOLVERS: [Solver; 4] = [Solver::Trf, Solver::Lm, Solver::Dogbox, Solver::Other];

/// What NLSQ 0.7.6 predicts with its factor of 1.2: trf, lm, dogbox, other.
const UPSTREAM: [(u64, u64, [u64; 4]); 2] = [
    (10_000, 20, [2_404_992, 2_308_608, 2_501_184, 4_032_192]),
    (1_000_000, 10, [144_001_536, 134_401_344, 153_601_632, 211_200_096]),
];

#[test]
fn predictions_are_those_of_upstream() {
    for (points, parameters, bytes) in UPSTREAM {
        for (solver, expected) in SOLVERS.into_iter().zip(bytes) {
            let fit = LeastSquares::new(solver, parameters);
            let padded = Padded { model: fit, safety: SafetyFactor::DEFAULT };
            assert_eq!(padded.bytes(points).unwrap(), expected, "{solver}");
            assert_eq!(SafetyFactor::DEFAULT.apply(fit.bytes(points).unwrap()).unwrap(), expected);
        }
    }
    let single = LeastSquares { data_type: DataType::F32, ..LeastSquares::new(Solver::Trf, 20) };
    let padded = Padded { model: single, safety: SafetyFactor::DEFAULT };
    assert_eq!(padded.bytes(10_000).unwrap(), 1_202_496);
}

/// The chunks that upstream plans rest on these: bytes of its chunks, and of one point.
#[test]
fn predictions_of_few_points_are_those_of_upstream() {
    let padded = |parameters| Padded {
        model: LeastSquares::new(Solver::Trf, parameters),
        safety: SafetyFactor::DEFAULT,
    };
    assert_eq!(padded(5).bytes(1_000_000).unwrap(), 96_000_528);
    assert_eq!(padded(100).bytes(1475).unwrap(), 1_588_560);
    assert_eq!(10_000_000 / padded(100).bytes(1).unwrap(), 1475);
}

#[test]
fn every_float_counts_its_own_bytes() {
    let bytes =
        |data_type| LeastSquares { data_type, ..LeastSquares::new(Solver::Trf, 20) }.bytes(10_000);
    let double = bytes(DataType::F64).unwrap();
    assert_eq!(bytes(DataType::F32).unwrap() * 2, double);
    assert_eq!(bytes(DataType::F16).unwrap() * 4, double, "upstream counts 8 bytes");
    assert_eq!(bytes(DataType::BF16).unwrap() * 4, double);
    for none in [DataType::I32, DataType::C64, DataType::BOOL] {
        let error = bytes(none).unwrap_err().to_string();
        assert!(error.contains("a fit needs a real float type"), "{error}");
    }
}

#[test]
fn no_points_and_no_parameters_are_no_error() {
    for solver in SOLVERS {
        assert_eq!(LeastSquares::new(solver, 0).bytes(0).unwrap(), 0);
        let fit = LeastSquares::new(solver, 3);
        assert!(fit.bytes(0).unwrap() <= fit.fixed_and_per_item().unwrap().0);
    }
}

#[test]
fn more_than_can_be_counted_is_an_error() {
    for solver in SOLVERS {
        for (points, parameters) in
            [(u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX), (1 << 40, 1 << 22), (0, u64::MAX)]
        {
            let fit = LeastSquares::new(solver, parameters);
            let error = fit.bytes(points).unwrap_err();
            assert!(matches!(error, Error::Tensor(TensorError::TooLarge { .. })), "{error}");
            assert!(error.to_string().contains(&format!("a {solver} fit")), "{error}");
        }
        assert_eq!(LeastSquares::new(solver, u64::MAX).fixed_and_per_item(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 64 }))]

    #[test]
    fn a_fixed_cost_and_one_per_point_are_exact_from_as_many_points_as_parameters(
        n in 0_u64..5000, p in 0_u64..300, which in 0_usize..4
    ) {
        let fit = LeastSquares::new(SOLVERS[which], p);
        let (fixed, per_point) = fit.fixed_and_per_item().unwrap();
        let (bytes, affine) = (fit.bytes(n).unwrap(), fixed + per_point * n);
        prop_assert!(bytes <= affine);
        if n >= p || matches!(fit.solver, Solver::Lm | Solver::Other) {
            prop_assert_eq!(bytes, affine);
        }
        prop_assert!(fit.bytes(n + 1).unwrap() >= bytes);
    }
}
