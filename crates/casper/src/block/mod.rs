//! What is in a block's rows.

pub(crate) mod approvals;
pub(crate) mod body;
pub(crate) mod header;
pub(crate) mod legacy;
pub(crate) mod signatures;
pub(crate) mod transaction;
pub(crate) mod transfers;
