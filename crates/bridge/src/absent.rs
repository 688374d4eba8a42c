//! The backends of arraybridge that this build leaves out: who asks for one is told its feature.

/// Tells of each backend whose feature is off, and gathers what is registered by hand.
macro_rules! backends {
    ($($feature:literal $absent:ident: $names:expr, $needs:literal;)*) => {
        $(
            #[cfg(not(feature = $feature))]
            static $absent: bridge_core::Absent = bridge_core::Absent {
                names: &$names,
                remedy: concat!("enable the Cargo feature `", $feature, "` of arraybridge", $needs),
            };

            #[cfg(not(feature = $feature))]
            bridge_core::inventory::submit! { bridge_core::Registration::absent(&$absent) }
        )*

        /// The same, for programs that register by hand.
        pub(crate) const REGISTRATIONS: &[bridge_core::Registration] = &[
            $(#[cfg(not(feature = $feature))] bridge_core::Registration::absent(&$absent),)*
        ];

        #[cfg(test)]
        const NAMES: &[(&str, bool, &[&str])] =
            &[$(($feature, cfg!(feature = $feature), &$names),)*];
    };
}

backends! {
    "ndarray" NDARRAY: ["ndarray", "nd"], "";
    "candle" CANDLE: ["candle", "candle-core", "candle_core"], "";
    "torch" TORCH: ["torch", "pytorch", "tch", "libtorch"],
        ", which needs libtorch to build (docs/torch.md)";
    "opencl" OPENCL: ["opencl", "cl", "opencl3"], ", which needs an OpenCL driver to run";
    "cuda" CUDA: ["cuda", "cudarc", "nvidia"], ", which needs an NVIDIA driver to run";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_backend_is_there_by_its_names_or_its_feature_is_named() {
        let registry = bridge_core::Registry::global().unwrap();
        for &(feature, is_on, names) in NAMES {
            for name in names {
                match registry.backend(name) {
                    Ok(backend) => {
                        assert!(is_on, "{name}");
                        let known: Vec<_> = backend.descriptor().names().collect();
                        assert_eq!(known, names);
                    }
                    Err(error) => {
                        let told = format!("Cargo feature `{feature}` of arraybridge");
                        assert!(!is_on && error.to_string().contains(&told), "{error}");
                    }
                }
            }
        }
        let absent: Vec<_> = registry.absent().map(bridge_core::Absent::name).collect();
        let off: Vec<_> = NAMES.iter().filter(|one| !one.1).map(|one| one.0).collect();
        assert_eq!((absent.len(), REGISTRATIONS.len()), (off.len(), off.len()));
    }
}
