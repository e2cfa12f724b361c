//! The 0-db side of a node: listed cases over real sockets, and what cannot be written as a case.

mod case;
mod cases;
mod value;
