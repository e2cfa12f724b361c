//! RESP framing and the node's native commands, as bytes. No I/O.
