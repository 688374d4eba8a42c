//! What is simulated.

use std::fmt;
use std::str::FromStr;

use super::fields::Fields;

macro_rules! config {
    ($($(#[$doc:meta])+ $name:ident: $kind:ty = $default:expr;)+) => {
        /// What is simulated; each method changes one setting.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Config { $(pub(crate) $name: $kind,)+ }

        impl Default for Config {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Config {
            $($(#[$doc])+ #[must_use] pub fn $name(self, $name: $kind) -> Self {
                Self { $name, ..self }
            })+
        }

        impl fmt::Display for Config {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                $(write!(f, concat!(stringify!($name), "={} "), self.$name)?;)+
                Ok(())
            }
        }

        /// Reads `name=value` words; what is not named has its default.
        impl FromStr for Config {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let mut fields = Fields::of(text)?;
                let mut config = Self::default();
                $(fields.take(stringify!($name), &mut config.$name)?;)+
                fields.finish()?;
                Ok(config)
            }
        }
    };
}

config! {
    /// How many devices there are. 2 unless set.
    devices: usize = 2;
    /// Bytes of memory of each device. 256 MiB unless set.
    memory: u64 = 256 << 20;
    /// Chooses the order in which the work of different streams runs.
    seed: u64 = 0;
    /// The chance, in percent, that one operation runs at any call, though nobody waits. 0 unless set: all work is late.
    eagerness: u64 = 0;
    /// Whether the devices can access each other's memory.
    peer_access: bool = true;
    /// Whether the devices have stream-ordered memory pools.
    memory_pools: bool = true;
    /// What `cuDriverGetVersion` says: 1000 × major + 10 × minor.
    driver_version: i32 = 12_080;
    /// The compute capability of each device, 10 × major + minor.
    compute_capability: i32 = 80;
    /// What `cuInit` returns.
    init_error: i32 = 0;
    /// Whether a violation ends the process.
    abort_on_violation: bool = false;
    /// Whether an access of the host to device memory is recorded and goes on, instead of ending the process.
    survive_host_access: bool = false;
    /// Whether the process ends with status 86 when anything is alive at its end.
    check_leaks_at_exit: bool = false;
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn a_configuration_survives_being_written_and_read() {
        let config = Config::default().devices(3).seed(9).peer_access(false).init_error(804);
        assert_eq!(config.to_string().parse(), Ok(config));
    }

    #[test]
    fn unknown_settings_and_values_are_refused_by_name() {
        let refused = |text: &str| text.parse::<Config>().expect_err("it is wrong");
        assert_eq!(refused("device=3"), "there is no setting `device`");
        assert_eq!(refused("devices=many"), "`many` is not a value for `devices`");
        assert_eq!(refused("devices"), "`devices` is not of the form name=value");
    }
}
