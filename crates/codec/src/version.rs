//! Codec versions: what fixes the bytes of a coded stream.

use std::fmt;

/// Which compressor, at which setting, made a coded stream; also part of every shard key.
///
/// | version | data containers | metadata containers |
/// | --- | --- | --- |
/// | 1 | each frame by zstd 1.5.7 level 1, raw where that is not smaller | frames raw |
///
/// A version is known or it is an error, so a value of this type can always be read. Old versions stay readable for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CodecVersion(u32);

/// A codec version that this program does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("codec version {0} is unknown here: use a newer prunedb")]
pub struct UnknownCodec(pub u32);

impl CodecVersion {
    /// The version that new containers get.
    pub const CURRENT: Self = Self(1);

    /// The version of this number.
    ///
    /// # Errors
    /// [`UnknownCodec`] where there is none, or it is newer than this program.
    pub const fn new(number: u32) -> Result<Self, UnknownCodec> {
        if number == 1 { Ok(Self(number)) } else { Err(UnknownCodec(number)) }
    }

    /// Its number, as stored.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for CodecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_versions_exist() {
        assert_eq!(CodecVersion::new(1), Ok(CodecVersion::CURRENT));
        for number in [0, 2, u32::MAX] {
            assert_eq!(CodecVersion::new(number), Err(UnknownCodec(number)));
        }
    }
}
