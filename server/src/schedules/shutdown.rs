//! [`Shutdown`]: it begins once, and a thread that sees its event sees that it has begun.

use rustix::event::{PollFd, PollFlags};
use shuttle::thread;

use super::check_all;
use crate::{Shutdown, kernel::poll};

#[test]
fn whoever_sees_the_event_sees_the_moment_in_every_schedule() {
    check_all(|| {
        let shutdown = Shutdown::new().expect("the kernel makes an eventfd");
        for reason in ["a signal", "the end of stdin"] {
            let shutdown = shutdown.clone();
            thread::spawn(move || shutdown.begin(reason));
        }
        poll(&mut [PollFd::new(&shutdown, PollFlags::IN)], None).expect("the event can be polled");
        let begun = shutdown.begun().expect("the event has occurred");
        thread::yield_now();
        assert_eq!(shutdown.begun(), Some(begun), "it began twice");
    });
}
