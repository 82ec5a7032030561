//! What goes wrong, or is at least rare.

use mulgil_broker::lane::Origin;
use mulgil_log::store::Weather;

use super::{Seat, World};
use crate::ledger::Outage;
use crate::violation::Kept;

/// Brokers that were taken over and still run.
const ZOMBIES_MAX: usize = 2;

impl World {
    /// One rare thing.
    pub(super) fn trouble(&mut self) -> Kept {
        match self.dice.below(18) {
            0..=4 => {
                if self.brokers.len() > ZOMBIES_MAX {
                    self.retire(0);
                }
                self.trace.line(|| "another broker takes over".to_owned());
                self.take_over()
            }
            5 | 6 => self.kill(),
            7 => self.stop(),
            8 => {
                if self.brokers.len() > 1 {
                    self.retire(0);
                }
                Ok(())
            }
            9 => {
                self.down = 1 + self.dice.below(40);
                self.bucket.set_weather(Weather::Down);
                self.trace.line(|| "the bucket is down".to_owned());
                Ok(())
            }
            10 | 11 => {
                let count = self.seats.len() as u64;
                let at = self.dice.below(count.max(1));
                let at = usize::try_from(at).unwrap_or(0);
                match self.seats.keys().nth(at).copied() {
                    Some(connection) => self.reconnect(connection, false),
                    None => Ok(()),
                }
            }
            12 => self.law(),
            13 | 14 => self.look(),
            _ => self.burst(),
        }
    }

    /// Many requests before a store gets to do anything.
    fn burst(&mut self) -> Kept {
        for _ in 0..40 {
            self.client_acts()?;
        }
        Ok(())
    }

    /// The broker that leads is killed, and another one starts.
    fn kill(&mut self) -> Kept {
        let Some(leader) = self.brokers.pop() else {
            return Ok(());
        };
        self.trace
            .line(|| format!("broker {} is killed", leader.incarnation));
        self.ledger.ended(Outage::Kill);
        self.take_over()
    }

    /// A broker that was taken over ends without having noticed.
    pub(super) fn retire(&mut self, at: usize) {
        let gone = self.brokers.remove(at);
        self.trace
            .line(|| format!("broker {} is gone", gone.incarnation));
        self.reseat();
    }

    /// Clients of brokers that are gone connect to the one that leads.
    pub(super) fn reseat(&mut self) {
        let there: Vec<u32> = self.brokers.iter().map(|b| b.incarnation).collect();
        let Some(leader) = there.last().copied() else {
            return;
        };
        for at in 0..self.clients.len() {
            let seat = self.seats.iter().find(|(_, seat)| seat.client == at);
            let seat = seat.map(|(connection, seat)| (*connection, *seat));
            if seat.is_some_and(|(_, seat)| there.contains(&seat.broker)) {
                continue;
            }
            if let Some((connection, _)) = seat {
                self.seats.remove(&connection);
            }
            if let Some(client) = self.clients.get_mut(at) {
                client.disconnected();
            }
            self.sit(at, leader);
        }
    }

    fn sit(&mut self, client: usize, broker: u32) {
        let seat = Seat { client, broker };
        self.seats.insert(self.next_connection, seat);
        self.next_connection += 1;
    }

    /// One client comes back with another connection, to the broker that it had or to the newest.
    pub(super) fn reconnect(&mut self, connection: u64, moves: bool) -> Kept {
        let Some(seat) = self.seats.remove(&connection) else {
            return Ok(());
        };
        let client = seat.client;
        self.trace
            .line(|| format!("client {client} loses its connection"));
        if let Some(client) = self.clients.get_mut(client) {
            client.disconnected();
        }
        let leader = self.brokers.last().map_or(0, |b| b.incarnation);
        self.sit(client, if moves { leader } else { seat.broker });
        let origin = Origin {
            runtime: 0,
            connection,
        };
        let Some(at) = self.place(seat.broker) else {
            return Ok(());
        };
        self.visit(at, |process, clock, _| {
            Some(process.visit(clock.now(), |lane, _| lane.forget(origin)))
        })?;
        Ok(())
    }
}
