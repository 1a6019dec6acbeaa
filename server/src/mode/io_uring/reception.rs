//! Accepting, which the first thread does for all of them.

use std::{
    collections::VecDeque,
    mem,
    os::fd::OwnedFd,
    sync::{PoisonError, atomic::Ordering::SeqCst},
    time::Instant,
};

use rustix::{io::Errno, net::SocketFlags};

use super::{Loop, ROOM, ring::Request};
use crate::{
    admission::{Accepted, Acceptor, Newcomer, REST},
    config::WhenFull,
};

/// How many newcomers are accepted one by one before the connections have their turn.
const ACCEPTS_PER_TURN: usize = 64;

/// Who accepts.
pub(super) struct Reception {
    acceptor: Acceptor,
    /// For each listener, what has been asked for it.
    asked: Vec<Asked>,
    /// Who was accepted, with the index of the listener, when the last place had just been taken.
    waiting: VecDeque<(usize, OwnedFd)>,
    /// Whether the descriptor of room is watched.
    watches_room: bool,
    accepting: Accepting,
    /// Whether the drain has begun.
    ends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    /// To accept whoever comes, until cancelled.
    Everybody,
    /// The same, and cancelled: the answer is awaited.
    Cancelled,
    /// To tell whether somebody is there. So it is done where there are few places left: the kernel would accept more.
    Newcomers,
}

/// When newcomers are accepted one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepting {
    /// When they are reported.
    AtEvent,
    /// Once the connections have had their turn.
    Soon,
    /// At this moment, or when there is room.
    Resting(Instant),
}

impl Loop {
    /// Asks for whoever comes next.
    pub(super) fn ask_for_newcomers(&mut self) {
        let Some(reception) = &mut self.reception else { return };
        let places = &self.shared.service.places;
        if !mem::replace(&mut reception.watches_room, true) {
            self.ring.watch(places.room(), ROOM);
        }
        // While it rests, and while there is no room, whoever comes waits in the backlog.
        if reception.accepting != Accepting::AtEvent || !reception.has_room() {
            return;
        }
        let may_take_everybody = reception.may_take_everybody();
        for (listener, asked) in reception.asked.iter_mut().enumerate() {
            if *asked == Asked::Nothing {
                let socket = reception.acceptor.listener(listener);
                *asked = match may_take_everybody {
                    true => Asked::Everybody,
                    false => Asked::Newcomers,
                };
                match may_take_everybody {
                    true => self.ring.accept(socket, listener),
                    false => self.ring.watch_listener(socket, listener),
                }
            }
        }
    }

    pub(super) fn handle_accepted(&mut self, listener: usize, result: Result<OwnedFd, Errno>, more: bool) {
        let reception = self.reception.as_mut().expect("only this thread accepts");
        if !more {
            reception.asked[listener] = Asked::Nothing;
        }
        let accepted = match result {
            Ok(socket) => match reception.acceptor.admit(listener, socket) {
                Ok(accepted) => accepted,
                Err(socket) => {
                    reception.waiting.push_back((listener, socket));
                    Accepted::Full
                }
            },
            Err(Errno::CANCELED) => return,
            Err(error) => reception.acceptor.failed(error),
        };
        match accepted {
            Accepted::Newcomer(newcomer) => self.give(newcomer),
            Accepted::Exhausted => reception.accepting = Accepting::Resting(Instant::now() + REST),
            Accepted::TurnedAway | Accepted::Nobody | Accepted::Full => {}
        }
    }

    /// What the round has brought is done about: accepts one by one where that was asked for, and asks again.
    pub(super) fn receive_newcomers(&mut self) {
        let Some(reception) = &mut self.reception else { return };
        if reception.ends {
            return self.close_reception();
        }
        if reception.accepting == Accepting::Soon {
            self.accept_some();
        }
        let Some(reception) = &mut self.reception else { return };
        if !reception.may_take_everybody() {
            for (listener, asked) in reception.asked.iter_mut().enumerate() {
                if *asked == Asked::Everybody {
                    *asked = Asked::Cancelled;
                    self.ring.cancel(Request::Accept(listener));
                }
            }
        }
        self.ask_for_newcomers();
    }

    /// Accepts from every listener until nobody is there or the connections should have their turn.
    fn accept_some(&mut self) {
        let Some(reception) = &mut self.reception else { return };
        let mut newcomers = Vec::new();
        reception.accepting = reception.accept_some(&mut newcomers);
        newcomers.into_iter().for_each(|newcomer| self.give(newcomer));
    }

    /// The drain has begun: nobody is asked for any more.
    pub(super) fn begin_to_close_reception(&mut self) {
        let Some(reception) = &mut self.reception else { return };
        reception.ends = true;
        for (listener, asked) in reception.asked.iter_mut().enumerate() {
            match asked {
                Asked::Everybody => {
                    *asked = Asked::Cancelled;
                    self.ring.cancel(Request::Accept(listener));
                }
                Asked::Newcomers => self.ring.cancel(Request::Newcomers(listener)),
                Asked::Nothing | Asked::Cancelled => {}
            }
        }
    }

    /// The drain has begun: once nobody is accepted any more without having been asked for, accepts for the last time.
    fn close_reception(&mut self) {
        let is_quiet =
            |reception: &mut Reception| reception.asked.iter().all(|asked| *asked == Asked::Nothing);
        if let Some(reception) = self.reception.take_if(is_quiet) {
            let Reception { acceptor, waiting, .. } = reception;
            for (listener, socket) in waiting {
                if let Ok(Accepted::Newcomer(newcomer)) = acceptor.admit(listener, socket) {
                    self.give(newcomer);
                }
            }
            let last = acceptor.accept_last(SocketFlags::NONBLOCK);
            last.into_iter().for_each(|newcomer| self.give(newcomer));
        }
    }

    /// Gives a newcomer to the thread that has the fewest connections.
    fn give(&mut self, newcomer: Newcomer) {
        let thread = self.shared.least();
        let door = &self.shared.doors[thread];
        door.connections.fetch_add(1, SeqCst);
        if thread == self.number {
            return self.add(newcomer);
        }
        let mut newcomers = door.newcomers.lock().unwrap_or_else(PoisonError::into_inner);
        newcomers.push(newcomer);
        // Where there were others, a message is on its way.
        if newcomers.len() == 1 {
            self.ring.message(door.ring, thread);
        }
    }
}

impl Reception {
    pub(super) fn new(acceptor: Acceptor) -> Self {
        let asked = vec![Asked::Nothing; acceptor.listeners()];
        let waiting = VecDeque::new();
        Self { acceptor, asked, waiting, watches_room: false, accepting: Accepting::AtEvent, ends: false }
    }

    /// Whether newcomers are to be accepted in the next round.
    pub(super) fn is_busy(&self) -> bool {
        self.accepting == Accepting::Soon
    }

    /// Until when it rests, if it does.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        match self.accepting {
            Accepting::Resting(until) => Some(until),
            Accepting::AtEvent | Accepting::Soon => None,
        }
    }

    /// Newcomers of this listener are there.
    pub(super) fn note_newcomers(&mut self, listener: usize) {
        self.asked[listener] = Asked::Nothing;
        self.accepting = Accepting::Soon;
    }

    /// There is room again.
    pub(super) fn note_room(&mut self) {
        self.watches_room = false;
        self.accepting = Accepting::Soon;
    }

    /// Accepts again after a rest.
    pub(super) fn time_out(&mut self, now: Instant) {
        if self.rests_until().is_some_and(|until| until <= now) {
            self.accepting = Accepting::Soon;
        }
    }

    /// Whether the kernel may accept as many as there are. What it accepts it hands over however many places there are,
    /// so there must be one for each who may be in the backlog.
    fn may_take_everybody(&self) -> bool {
        let service = self.acceptor.service();
        // Linux lets one more than the backlog into a listener's queue.
        let backlogs = (service.config.backlog as usize + 1) * self.asked.len();
        service.config.when_full == WhenFull::Reject
            || self.waiting.is_empty() && service.places.left() > backlogs
    }

    /// Whether somebody can be accepted.
    fn has_room(&self) -> bool {
        let service = self.acceptor.service();
        // One that was given back before the wish was known would not be announced: look once more.
        let has_place = || service.places.left() > 0;
        service.config.when_full == WhenFull::Reject || has_place() || {
            service.places.want_room();
            has_place()
        }
    }

    fn accept_some(&mut self, newcomers: &mut Vec<Newcomer>) -> Accepting {
        while let Some((listener, socket)) = self.waiting.pop_front() {
            match self.acceptor.admit(listener, socket) {
                Ok(Accepted::Newcomer(newcomer)) => newcomers.push(newcomer),
                Ok(_) => {}
                Err(socket) => {
                    self.waiting.push_front((listener, socket));
                    return Accepting::AtEvent;
                }
            }
        }
        let mut turns = 0..ACCEPTS_PER_TURN;
        for listener in self.acceptor.in_turn() {
            loop {
                if turns.next().is_none() {
                    return Accepting::Soon;
                }
                match self.acceptor.accept(listener, SocketFlags::NONBLOCK) {
                    Accepted::Newcomer(newcomer) => newcomers.push(newcomer),
                    Accepted::TurnedAway => {}
                    Accepted::Nobody => break,
                    // The descriptor of room will tell.
                    Accepted::Full => return Accepting::AtEvent,
                    Accepted::Exhausted => return Accepting::Resting(Instant::now() + REST),
                }
            }
        }
        Accepting::AtEvent
    }
}
