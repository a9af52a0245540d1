//! Link and network layers, tunnels.
