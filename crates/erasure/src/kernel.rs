//! Which instructions do the arithmetic: found out at run time, one binary for all processors.

use crate::{
    Error,
    lanes::{Lanes, Scalar},
};
use std::{fmt, str::FromStr};

/// A set of instructions that the code is written for. All give the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kernel {
    /// 64-byte vectors and `gf2p8affineqb`: products in one instruction.
    Avx512Gfni,
    /// 32-byte vectors and `gf2p8affineqb`.
    Avx2Gfni,
    /// 32-byte vectors, products by two table lookups (`pshufb`).
    Avx2,
    /// 16-byte vectors, products by two table lookups.
    Ssse3,
    /// 16-byte vectors of ARM, products by two table lookups.
    Neon,
    /// Portable Rust.
    Scalar,
}

impl Kernel {
    /// Every kernel, of whatever processor, the fastest first.
    pub const ALL: [Self; 6] =
        [Self::Avx512Gfni, Self::Avx2Gfni, Self::Avx2, Self::Ssse3, Self::Neon, Self::Scalar];

    /// The fastest that this processor has.
    pub fn detect() -> Self {
        Self::ALL.into_iter().find(|kernel| kernel.is_available()).unwrap_or(Self::Scalar)
    }

    /// All that this processor has, the fastest first; [`Kernel::Scalar`] is always the last.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|kernel| kernel.is_available()).collect()
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        struct Nothing;
        impl ForLanes for Nothing {
            type Output = ();
            fn run<L: Lanes>(self, _lanes: L) {}
        }
        self.with_lanes(Nothing).is_ok()
    }

    /// Hands the vectors of this kernel to `job`.
    pub(crate) fn with_lanes<J: ForLanes>(self, job: J) -> Result<J::Output, Error> {
        #[cfg(target_arch = "aarch64")]
        use crate::lanes::Neon;
        #[cfg(target_arch = "x86_64")]
        use crate::lanes::{Avx2, Avx2Gfni, Avx512Gfni, Ssse3};
        let unavailable = Error::KernelUnavailable { kernel: self };
        Ok(match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Gfni => job.run(Avx512Gfni::detect().ok_or(unavailable)?),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Gfni => job.run(Avx2Gfni::detect().ok_or(unavailable)?),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => job.run(Avx2::detect().ok_or(unavailable)?),
            #[cfg(target_arch = "x86_64")]
            Self::Ssse3 => job.run(Ssse3::detect().ok_or(unavailable)?),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => job.run(Neon::detect().ok_or(unavailable)?),
            Self::Scalar => job.run(Scalar),
            _ => return Err(unavailable),
        })
    }

    /// What `PRUNEDB_KERNEL` names (for tests and benchmarks), or else the fastest.
    pub(crate) fn choose() -> Result<Self, Error> {
        match std::env::var("PRUNEDB_KERNEL") {
            Ok(name) => name.parse(),
            Err(std::env::VarError::NotPresent) => Ok(Self::detect()),
            Err(std::env::VarError::NotUnicode(name)) => {
                Err(Error::UnknownKernel { name: name.to_string_lossy().into_owned() })
            }
        }
    }
}

/// Something to do with the vectors of a kernel that is known at run time.
pub(crate) trait ForLanes {
    type Output;
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Avx512Gfni => "avx512-gfni",
            Self::Avx2Gfni => "avx2-gfni",
            Self::Avx2 => "avx2",
            Self::Ssse3 => "ssse3",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        })
    }
}

impl FromStr for Kernel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|kernel| kernel.to_string() == name)
            .ok_or_else(|| Error::UnknownKernel { name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for kernel in Kernel::ALL {
            assert_eq!(kernel.to_string().parse(), Ok(kernel));
        }
        for name in ["", "AVX2", "avx2 ", "sse"] {
            assert_eq!(name.parse::<Kernel>(), Err(Error::UnknownKernel { name: name.into() }));
        }
    }

    #[test]
    fn the_detected_kernel_is_the_first_available() {
        let available = Kernel::available();
        assert_eq!(available.first(), Some(&Kernel::detect()));
        assert_eq!(available.last(), Some(&Kernel::Scalar));
    }
}
