use bridge_core::{DataType, Error, TensorError};
use bridge_memory::predict::{CostModel, Fft, FftKind, FftWorkspace, Matmul, Svd, SvdVectors};

fn assert_affine(model: &dyn CostModel) {
    let (fixed, per_item) = model.fixed_and_per_item().unwrap();
    for items in [0, 1, 2, 1000] {
        assert_eq!(model.bytes(items).unwrap(), fixed + per_item * items);
    }
}

#[track_caller]
fn assert_too_large(model: &dyn CostModel, items: u64) {
    let error = model.bytes(items).unwrap_err();
    assert!(matches!(error, Error::Tensor(TensorError::TooLarge { .. })), "{error}");
}

#[test]
fn a_matrix_product_takes_both_matrices_and_the_result() {
    let product = Matmul::new((2, 3), 5, DataType::F32);
    assert_eq!(product.fixed_and_per_item(), Some((0, 4 * (6 + 15 + 10))));
    let shared = Matmul { shares_right: true, workspace: 1000, ..product };
    assert_eq!(shared.fixed_and_per_item(), Some((1000 + 4 * 15, 4 * (6 + 10))));
    let widened = Matmul { result_type: DataType::F64, ..product };
    assert_eq!(widened.bytes(1).unwrap(), 4 * (6 + 15) + 8 * 10);
    assert_affine(&product);
    assert_affine(&shared);
    assert_too_large(&product, u64::MAX);
    assert_too_large(&Matmul::new((1 << 40, 1 << 40), 1, DataType::F64), 1);
    assert_eq!(Matmul::new((1 << 40, 1 << 40), 1, DataType::F64).fixed_and_per_item(), None);
    assert_too_large(&Matmul { workspace: u64::MAX, ..product }, 1);
    // A side of nothing makes nothing, however long the other.
    assert_eq!(Matmul::new((1 << 40, 0), 0, DataType::F64).bytes(1).unwrap(), 0);
}

#[test]
fn a_fourier_transform_takes_input_result_and_workspace() {
    let fft = |kind, lengths: &[u64], in_place, workspace| Fft {
        in_place,
        workspace,
        ..Fft::new(kind, lengths, DataType::F64)
    };
    use FftKind::{Complex, ComplexToReal, RealToComplex};
    use FftWorkspace::{Each, None, One};
    for (kind, lengths, in_place, workspace, expected) in [
        (Complex, &[10_u64] as &[_], false, None, (0, 320)),
        (Complex, &[10], true, None, (0, 160)),
        (Complex, &[10], true, One, (160, 160)),
        (Complex, &[10], false, Each, (0, 480)),
        (Complex, &[3, 4, 5], false, None, (0, 2 * 60 * 16)),
        // 10 real numbers give 6 complex ones, and so do 11.
        (RealToComplex, &[10], false, None, (0, 80 + 96)),
        (ComplexToReal, &[10], false, None, (0, 80 + 96)),
        (RealToComplex, &[11], false, None, (0, 88 + 96)),
        (RealToComplex, &[10], true, None, (0, 96)),
        (RealToComplex, &[7, 10], true, One, (7 * 96, 7 * 96)),
        (RealToComplex, &[7, 10], false, Each, (0, 7 * (80 + 96 + 96))),
        (RealToComplex, &[7, 0], false, Each, (0, 0)),
    ] {
        let model = fft(kind, lengths, in_place, workspace);
        assert_eq!(model.fixed_and_per_item(), Some(expected), "{model:?}");
        assert_affine(&model);
    }
    assert_too_large(&Fft::new(Complex, &[1 << 40, 1 << 24], DataType::F32), 1);
    assert_too_large(&Fft::new(RealToComplex, &[u64::MAX], DataType::F32), 1);
    let error = Fft::new(Complex, &[], DataType::F32).bytes(1).unwrap_err().to_string();
    assert!(error.contains("lengths is empty"), "{error}");
    let error = Fft::new(Complex, &[4], DataType::C64).bytes(1).unwrap_err().to_string();
    assert!(error.contains("precision is complex64"), "{error}");
}

#[test]
fn a_decomposition_takes_its_matrix_and_its_results_each_and_its_work_once() {
    let (m, n) = (6, 4);
    let svd = |vectors, data_type| Svd::new((m, n), vectors, data_type);
    let each = |svd: Svd| svd.fixed_and_per_item().unwrap().1;
    assert_eq!(each(svd(SvdVectors::None, DataType::F32)), 4 * (24 + 4));
    assert_eq!(each(svd(SvdVectors::Thin, DataType::F32)), 4 * (24 + 4 + 24 + 16));
    assert_eq!(each(svd(SvdVectors::Full, DataType::F32)), 4 * (24 + 4 + 36 + 16));
    // The singular values of complex matrices are real.
    assert_eq!(each(svd(SvdVectors::Full, DataType::C128)), 16 * (24 + 36 + 16) + 8 * 4);

    let once = |svd: Svd| svd.fixed_and_per_item().unwrap().0;
    let (blocks, integers) = (32 * (m + n), 8 * 8 * n);
    let thin = svd(SvdVectors::Thin, DataType::F64);
    assert_eq!(once(thin), 8 * (24 + (4 * 16 + 7 * 4) + blocks) + integers);
    let full = svd(SvdVectors::Full, DataType::F64);
    assert_eq!(once(full), 8 * (24 + (4 * 16 + 6 * 4 + 6) + blocks) + integers);
    let none = svd(SvdVectors::None, DataType::F64);
    assert_eq!(once(none), 8 * (24 + (3 * 4 + 7 * 4) + blocks) + integers);
    let complex = svd(SvdVectors::Thin, DataType::C128);
    let beside = 8 * (5 * 16 + 5 * 4);
    assert_eq!(once(complex), 16 * (24 + (16 + 12) + blocks) + beside + integers);

    for model in [thin, full, none, complex, Svd { integer_bytes: 4, ..thin }] {
        assert_affine(&model);
        let flipped = Svd { rows: n, columns: m, ..model };
        assert_eq!(model.bytes(7).unwrap(), flipped.bytes(7).unwrap(), "either way round");
    }
    assert_too_large(&Svd::new((1 << 33, 1 << 33), SvdVectors::None, DataType::F64), 1);
    assert_too_large(&Svd::new((1 << 40, 1), SvdVectors::Full, DataType::F64), 1);
    assert!(Svd::new((0, 5), SvdVectors::Thin, DataType::F64).bytes(3).is_ok());
    let error = Svd::new((2, 2), SvdVectors::Thin, DataType::I32).bytes(1).unwrap_err();
    assert!(error.to_string().contains("needs real or complex floats"), "{error}");
}

/// The work that `gesdd` of OpenBLAS (of NumPy 2.5) asks for where it may choose, in elements.
#[test]
fn a_decomposition_is_left_the_work_that_lapack_likes() {
    use DataType as T;
    use SvdVectors::{Full, None, Thin};
    for (vectors, (m, n), data_type, liked) in [
        (None, (64, 100), T::F64, 5440),
        (None, (1000, 20), T::F64, 1340),
        (None, (100_000, 1), T::F64, 67),
        (Thin, (64, 100), T::F64, 12_736),
        (Thin, (1000, 20), T::F64, 1740),
        (Thin, (100_000, 1), T::F64, 68),
        (Full, (64, 100), T::F64, 12_736),
        (Full, (1000, 20), T::F64, 32_420),
        (Full, (100_000, 1), T::F64, 3_200_002),
        (None, (64, 100), T::C128, 5376),
        (None, (1000, 20), T::C128, 1320),
        (None, (100_000, 1), T::C128, 66),
        (Thin, (64, 100), T::C128, 5376),
        (Thin, (1000, 20), T::C128, 1720),
        (Thin, (100_000, 1), T::C128, 67),
        (Full, (64, 100), T::C128, 5376),
        (Full, (1000, 20), T::C128, 32_420),
        (Full, (100_000, 1), T::C128, 3_200_002),
    ] {
        let svd = Svd::new((m, n), vectors, data_type);
        let b = data_type.size_in_bytes().unwrap() as u64;
        let once = svd.fixed_and_per_item().unwrap().0;
        assert!(once >= b * (m * n + liked), "{svd:?}: {once} bytes, {liked} elements");
    }
}
