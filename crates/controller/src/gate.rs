//! Where connections come in: so many at one time, until the process is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// A listener with places.
pub(crate) struct Gate {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

/// A connection.
pub(crate) struct Came {
    pub(crate) stream: TcpStream,
    pub(crate) from: SocketAddr,
    /// Its place; another one's when this is dropped.
    pub(crate) slot: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(listener: TcpListener, places: usize, stop: watch::Receiver<bool>) -> Self {
        Self { listener, slots: Arc::new(Semaphore::new(places)), stop }
    }

    /// The next connection; without a place it waits to be taken. `None` when this was told to stop.
    pub(crate) async fn next(&mut self) -> Option<Came> {
        let Self { listener, slots, stop } = self;
        let coming = async {
            let slot = Arc::clone(slots).acquire_owned().await.ok()?;
            loop {
                match listener.accept().await {
                    Ok((stream, from)) => {
                        // What is small is not held back to fill a packet.
                        let _ = stream.set_nodelay(true);
                        return Some(Came { stream, from, slot });
                    }
                    // No descriptors are left: some come back when connections end.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        };
        tokio::select! {
            came = coming => came,
            _ = stop.wait_for(|stop| *stop) => None,
        }
    }
}
