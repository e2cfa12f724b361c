//! What each chain's history looks like, how it is verified, stored and given back.
