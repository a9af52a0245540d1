//! Tests of the estate through its public face.
