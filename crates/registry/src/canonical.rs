//! One value, one encoding: what is signed, hashed and kept.
//!
//! Integers are little-endian; lists have their length in front (u32), texts too (u16), an option a byte 0 or 1, maps are lists by
//! rising key. A decoder refuses everything that it would not write itself, and allocates as it reads.

use crate::ids::{Amount, Key};
use prunedb_core::{Digest, LakeId, Policy};
use prunedb_placement::NodeId;
use std::collections::{BTreeMap, BTreeSet};

pub use prunedb_format::{FormatError, bytes::Reader};

/// A value with one encoding.
pub trait Canonical: Sized {
    /// Appends the value's bytes.
    fn put(&self, out: &mut Vec<u8>);

    /// Reads a value.
    ///
    /// # Errors
    /// [`FormatError`] for bytes that [`Self::put`] would not write.
    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError>;

    /// The value's bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    /// Reads a value that takes up all of the bytes.
    ///
    /// # Errors
    /// [`FormatError`] for bytes that are not one value.
    fn from_bytes(what: &'static str, bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(what, bytes);
        let value = Self::get(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

macro_rules! integers {
    ($($integer:ident),*) => {$(
        impl Canonical for $integer {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
                Ok(Self::from_le_bytes(from.array()?))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64);

impl<T: Canonical + Copy + Default, const N: usize> Canonical for [T; N] {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|item| item.put(out));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut items = [T::default(); N];
        for item in &mut items {
            *item = T::get(from)?;
        }
        Ok(items)
    }
}

macro_rules! newtypes {
    ($($name:ident),*) => {$(
        impl Canonical for $name {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }

            fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
                Ok(Self(Canonical::get(from)?))
            }
        }
    )*};
}
newtypes!(Amount, Digest, Key, LakeId, NodeId);

impl Canonical for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        match from.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            found => Err(FormatError::Value { what: "yes or no", found: found.into() }),
        }
    }
}

/// At most 65,535 bytes: what is longer is cut.
impl Canonical for String {
    fn put(&self, out: &mut Vec<u8>) {
        let end = self.floor_char_boundary(usize::from(u16::MAX));
        prunedb_format::bytes::put_short(out, &self.as_bytes()[..end]);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        from.short_str().map(Self::from)
    }
}

impl Canonical for Policy {
    fn put(&self, out: &mut Vec<u8>) {
        prunedb_format::bytes::put_policy(out, *self);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        from.policy()
    }
}

impl<T: Canonical> Canonical for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        if bool::get(from)? { T::get(from).map(Some) } else { Ok(None) }
    }
}

impl<T: Canonical> Canonical for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        T::get(from).map(Self::new)
    }
}

impl<A: Canonical, B: Canonical> Canonical for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok((A::get(from)?, B::get(from)?))
    }
}

impl<A: Canonical, B: Canonical, C: Canonical> Canonical for (A, B, C) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
        self.2.put(out);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok((A::get(from)?, B::get(from)?, C::get(from)?))
    }
}

fn put_count(count: usize, out: &mut Vec<u8>) {
    u32::try_from(count).expect("lists are bounded far below 2^32").put(out);
}

impl<T: Canonical> Canonical for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        self.iter().for_each(|item| item.put(out));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        (0..u32::get(from)?).map(|_| T::get(from)).collect()
    }
}

impl<K: Canonical + Ord, V: Canonical> Canonical for BTreeMap<K, V> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        for (key, value) in self {
            key.put(out);
            value.put(out);
        }
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut map = Self::new();
        for position in 0..u32::get(from)? {
            let (key, value) = (K::get(from)?, V::get(from)?);
            if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(FormatError::Value {
                    what: "order of a map, at",
                    found: position.into(),
                });
            }
            map.insert(key, value);
        }
        Ok(map)
    }
}

impl<K: Canonical + Ord> Canonical for BTreeSet<K> {
    fn put(&self, out: &mut Vec<u8>) {
        put_count(self.len(), out);
        self.iter().for_each(|key| key.put(out));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self, FormatError> {
        let mut set = Self::new();
        for position in 0..u32::get(from)? {
            let key = K::get(from)?;
            if set.last().is_some_and(|last| *last >= key) {
                return Err(FormatError::Value {
                    what: "order of a set, at",
                    found: position.into(),
                });
            }
            set.insert(key);
        }
        Ok(set)
    }
}

/// A struct whose encoding is that of its fields, one after another.
#[doc(hidden)]
#[macro_export]
macro_rules! __canonical_struct {
    ($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* $field_vis:vis $field:ident: $type:ty,)*
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $($(#[$field_meta])* $field_vis $field: $type,)*
        }

        impl $crate::canonical::Canonical for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $($crate::canonical::Canonical::put(&self.$field, out);)*
            }

            fn get(
                from: &mut $crate::canonical::Reader<'_>,
            ) -> Result<Self, $crate::canonical::FormatError> {
                $(let $field = $crate::canonical::Canonical::get(from)?;)*
                Ok(Self { $($field,)* })
            }
        }
    };
}
pub use __canonical_struct as canonical_struct;

/// An enum whose encoding is a kind (u8), then the fields of the variant, one after another.
#[doc(hidden)]
#[macro_export]
macro_rules! __canonical_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident, $what:literal {
        $($(#[$doc:meta])* $kind:literal $variant:ident {
            $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)?
        }),* $(,)?
    }) => {
        $(#[$meta])*
        $vis enum $name {
            $($(#[$doc])* $variant { $($(#[$field_doc])* $field: $type),* },)*
        }

        impl $name {
            /// How many kinds there are; they are numbered from 1.
            pub const KIND_COUNT: usize = [$($kind),*].len();
        }

        impl $crate::canonical::Canonical for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant { $($field),* } => {
                        out.push($kind);
                        $($crate::canonical::Canonical::put($field, out);)*
                    })*
                }
            }

            fn get(
                from: &mut $crate::canonical::Reader<'_>,
            ) -> Result<Self, $crate::canonical::FormatError> {
                match from.u8()? {
                    $($kind => Ok(Self::$variant {
                        $($field: $crate::canonical::Canonical::get(from)?),*
                    }),)*
                    found => Err($crate::canonical::FormatError::Value {
                        what: $what,
                        found: found.into(),
                    }),
                }
            }
        }
    };
}
pub use __canonical_enum as canonical_enum;
