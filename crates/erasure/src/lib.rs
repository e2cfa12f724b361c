//! Systematic Reed-Solomon over GF(2^8) with SIMD kernels chosen at run time.
