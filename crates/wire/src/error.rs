//! What can be wrong with framing. Nothing of the connection can be trusted afterwards: answer it, and close.

/// Bytes that are no RESP, or over a limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A request starts with something else than `*`: an inline command, another protocol.
    #[error("expected '*', got byte {found:#04x}")]
    NotAnArray {
        /// the byte found
        found: u8,
    },
    /// An argument is not a bulk string.
    #[error("expected '$', got byte {found:#04x}")]
    NotABulk {
        /// the byte found
        found: u8,
    },
    /// A reply starts with none of `+ - : $ *`.
    #[error("unknown type byte {found:#04x}")]
    UnknownType {
        /// the byte found
        found: u8,
    },
    /// A request without arguments.
    #[error("a request needs at least one argument")]
    NoArguments,
    /// Too many arguments, or elements.
    #[error("invalid multibulk length: {found} where at most {count_max} are allowed")]
    Count {
        /// the number found
        found: i64,
        /// most that is allowed
        count_max: usize,
    },
    /// A bulk string with a negative or too large length.
    #[error("invalid bulk length: {found} where at most {bytes_max} are allowed")]
    BulkLength {
        /// the length found
        found: i64,
        /// most that is allowed
        bytes_max: usize,
    },
    /// All bulk strings together are too long.
    #[error("more than {bytes_max} bytes in one message")]
    TooLong {
        /// most that is allowed
        bytes_max: usize,
    },
    /// A line without its end.
    #[error("a line longer than {bytes_max} bytes")]
    LineLength {
        /// most that is allowed
        bytes_max: usize,
    },
    /// A line or bulk string that does not end in CR LF.
    #[error("CR LF is missing")]
    LineEnd,
    /// Quotes of an inline command that are open, or have no blank behind them.
    #[error("unbalanced quotes in request")]
    Quotes,
    /// Not a whole number.
    #[error("not a number")]
    Number,
    /// An array in an array in an array.
    #[error("arrays nested too deep")]
    Nesting,
}
