//! Behaviours of the server.

pub(crate) use self::quiet::expect_quiet;
use crate::behaviour::Group;

mod abuse;
mod access;
mod activation;
mod admission;
mod backpressure;
mod drain;
mod drain_grace;
mod echo;
mod environment;
mod half_close;
mod leftovers;
mod listening;
mod logs;
mod memory;
mod metrics;
mod notifications;
mod proxy_protocol;
mod quiet;
mod refusals;
mod spread;
mod takeover;
mod timeouts;
mod units;
mod usage;
mod work;

pub(crate) fn groups() -> Vec<Group> {
    vec![
        echo::group(),
        half_close::group(),
        listening::group(),
        activation::group(),
        notifications::group(),
        units::group(),
        takeover::group(),
        backpressure::group(),
        timeouts::group(),
        admission::group(),
        access::group(),
        proxy_protocol::group(),
        spread::group(),
        quiet::group(),
        refusals::group(),
        drain::group(),
        drain_grace::group(),
        abuse::group(),
        leftovers::group(),
        work::group(),
        logs::group(),
        memory::group(),
        metrics::group(),
        environment::group(),
        usage::group(),
    ]
}
