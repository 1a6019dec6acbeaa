//! [`PerIp`]: no client has more connections than its limit, and the table forgets clients without a connection.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use shuttle::thread;

use super::check;
use crate::admission::per_ip::PerIp;

#[test]
fn a_client_never_has_more_connections_than_its_limit() {
    check(|| {
        const MAX: u32 = 2;
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST).into();
        let (per_ip, open) = (Arc::new(PerIp::new(MAX)), Arc::new(AtomicU32::new(0)));
        let connections = [(); 4].map(|()| {
            let (per_ip, open) = (Arc::clone(&per_ip), Arc::clone(&open));
            thread::spawn(move || {
                let is_admitted = per_ip.acquire(client);
                if is_admitted {
                    assert!(open.fetch_add(1, Relaxed) < MAX, "too many connections");
                    thread::yield_now();
                    open.fetch_sub(1, Relaxed);
                    per_ip.release(client);
                }
                is_admitted
            })
        });
        let admitted = connections.map(|connection| connection.join().expect("it ends"));
        assert!(admitted.iter().filter(|admitted| **admitted).count() >= MAX as usize);
        assert!(per_ip.is_empty(), "the table still has a client");
    });
}
