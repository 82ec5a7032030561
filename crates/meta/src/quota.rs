//! Quotas: how much a user or a client may ask for, and which of several limits counts.
//!
//! A limit belongs to an entity: a user, a client by its id, both together, or the defaults for those
//! that have none of their own. The most exact entity that has a limit of a kind counts, and nobody
//! else's; all connections to which the same one applies share it. What is used up is measured
//! elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A user or a client of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The entity does not name one: it is for all.
    #[default]
    Absent,
    /// Each that has no limit of its own.
    Default,
    /// This one.
    Named(Arc<str>),
}

/// To whom a limit belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaEntity {
    /// Which user.
    pub user: Part,
    /// Which client.
    pub client: Part,
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Bytes of publishes, a second.
    ProduceBytes,
    /// Bytes of reads, a second.
    ConsumeBytes,
    /// Time of the broker's threads, millionths of a hundredth of one.
    RequestMicropercent,
}

impl Limit {
    /// All kinds, by their numbers in the log.
    pub const ALL: [Self; 3] = [
        Self::ProduceBytes,
        Self::ConsumeBytes,
        Self::RequestMicropercent,
    ];

    /// Its number in the log.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::ProduceBytes => 0,
            Self::ConsumeBytes => 1,
            Self::RequestMicropercent => 2,
        }
    }
}

/// The limits of one entity.
pub type Limits = BTreeMap<Limit, u64>;

/// Most entities with limits of their own: each is looked for among the others with each request.
pub const ENTITIES_MAX: usize = 10_000;

/// All limits there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    entities: BTreeMap<QuotaEntity, Limits>,
}

/// Who shares a limit: the user, the client, or both, as the entity names them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sharers {
    /// The user, if the limit is by user.
    pub user: Option<Arc<str>>,
    /// The client, if the limit is by client.
    pub client: Option<Arc<str>>,
}

impl Quotas {
    /// All entities with their limits.
    pub fn entities(&self) -> impl Iterator<Item = (&QuotaEntity, &Limits)> {
        self.entities.iter()
    }

    /// The limits of an entity itself.
    #[must_use]
    pub fn of(&self, entity: &QuotaEntity) -> Option<&Limits> {
        self.entities.get(entity)
    }

    /// How many entities have limits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entities.len()
    }

    /// Whether nobody has a limit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    /// The limits of an entity are these from now on; none at all takes it away.
    pub(crate) fn replace(&mut self, entity: &QuotaEntity, limits: &Limits) {
        if limits.is_empty() {
            self.entities.remove(entity);
        } else {
            self.entities.insert(entity.clone(), limits.clone());
        }
    }

    /// The limit that counts for a client of a user, and with whom it is shared.
    ///
    /// As Kafka's `DefaultQuotaCallback`: what names the user goes before what does not, and among
    /// those what names the client.
    #[must_use]
    pub fn find(&self, limit: Limit, user: &str, client: &str) -> Option<(u64, Sharers)> {
        if self.entities.is_empty() {
            return None;
        }
        let users = [Part::Named(user.into()), Part::Default, Part::Absent];
        for user_part in users {
            for client_part in [Part::Named(client.into()), Part::Default, Part::Absent] {
                let entity = QuotaEntity {
                    user: user_part.clone(),
                    client: client_part,
                };
                let found = self.of(&entity).and_then(|limits| limits.get(&limit));
                if let Some(most) = found {
                    let by = |part: &Part, name: &str| (*part != Part::Absent).then(|| name.into());
                    let sharers = Sharers {
                        user: by(&entity.user, user),
                        client: by(&entity.client, client),
                    };
                    return Some((*most, sharers));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_entity_counts() {
        let named = |name: &str| Part::Named(name.into());
        let order = [
            (Part::Absent, Part::Default),
            (Part::Absent, named("c")),
            (Part::Default, Part::Absent),
            (Part::Default, Part::Default),
            (Part::Default, named("c")),
            (named("u"), Part::Absent),
            (named("u"), Part::Default),
            (named("u"), named("c")),
        ];
        let mut quotas = Quotas::default();
        for (most, (user, client)) in (1..).zip(order) {
            let entity = QuotaEntity { user, client };
            quotas.replace(&entity, &Limits::from([(Limit::ProduceBytes, most)]));
            let (found, sharers) = quotas.find(Limit::ProduceBytes, "u", "c").unwrap();
            assert_eq!(found, most);
            assert_eq!(sharers.user.is_some(), entity.user != Part::Absent);
            assert_eq!(sharers.client.is_some(), entity.client != Part::Absent);
            assert_eq!(quotas.find(Limit::ConsumeBytes, "u", "c"), None);
        }
        for (user, client) in quotas
            .entities
            .clone()
            .into_keys()
            .map(|e| (e.user, e.client))
        {
            quotas.replace(&QuotaEntity { user, client }, &Limits::new());
        }
        assert!(quotas.is_empty());
    }
}
